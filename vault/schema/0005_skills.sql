-- Skills that a person agreed to: their files as they were then. They are run from here and from nowhere else, so that
-- nobody can change one afterwards; the digest of all its files is what was agreed to.
CREATE TABLE skills (
    name         TEXT PRIMARY KEY,
    digest       TEXT NOT NULL CHECK (length(digest) = 64 AND digest NOT GLOB '*[^0-9a-f]*'),
    source       TEXT NOT NULL,                -- where it was imported from, as the person named it
    approved_ms  INTEGER NOT NULL,
    enabled      INTEGER NOT NULL CHECK (enabled IN (0, 1))
) STRICT;
CREATE TABLE skill_files (
    skill  TEXT NOT NULL REFERENCES skills (name) ON DELETE CASCADE,
    name   TEXT NOT NULL,
    data   BLOB NOT NULL,
    PRIMARY KEY (skill, name)
) STRICT;
CREATE TRIGGER skills_leave_remains AFTER DELETE ON skills
WHEN NOT (SELECT remains FROM vault_state) BEGIN
    UPDATE vault_state SET remains = 1;
END;
