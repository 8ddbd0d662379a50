-- What the person allows the assistant's tools to do. Where no rule fits, the strictest default of a tool holds.
CREATE TABLE permissions (
    permission  TEXT NOT NULL,                 -- what a tool does: files.read, web.fetch
    resource    TEXT NOT NULL,                 -- what with: file:/home/ada/notes, host:example.org, or * for anything
    data_class  TEXT NOT NULL,                 -- the strictest data that the rule is about
    decision    TEXT NOT NULL CHECK (decision IN ('allow', 'ask', 'deny')),
    set_ms      INTEGER NOT NULL,
    PRIMARY KEY (permission, resource)
) STRICT;

-- What the person had the assistant remember.
CREATE TABLE notes (
    id          TEXT PRIMARY KEY,
    text        TEXT NOT NULL,
    source      TEXT NOT NULL,                 -- who wrote it down: the person, or a tool
    created_ms  INTEGER NOT NULL
) STRICT;
CREATE TRIGGER notes_leave_remains AFTER DELETE ON notes
WHEN NOT (SELECT remains FROM vault_state) BEGIN
    UPDATE vault_state SET remains = 1;
END;
CREATE TRIGGER permissions_leave_remains AFTER DELETE ON permissions
WHEN NOT (SELECT remains FROM vault_state) BEGIN
    UPDATE vault_state SET remains = 1;
END;
