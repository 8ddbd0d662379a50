-- Conversations are trees: editing or regenerating a message adds a sibling under the same parent.
-- `n` is a declared INTEGER PRIMARY KEY because VACUUM may renumber implicit rowids, which the full-text index uses.
CREATE TABLE sessions (
    n              INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    title          TEXT NOT NULL,
    system_prompt  TEXT NOT NULL,
    created_ms     INTEGER NOT NULL,
    updated_ms     INTEGER NOT NULL,
    head           TEXT,                         -- newest message of the branch in use
    forked_from    TEXT                          -- id of the message this session was forked at
) STRICT;
CREATE INDEX sessions_by_update ON sessions (updated_ms);

CREATE TABLE messages (
    n           INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    session_id  TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    parent_id   TEXT REFERENCES messages (id) ON DELETE CASCADE,
    role        TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    text        TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('streaming', 'complete', 'cancelled', 'interrupted')),
    created_ms  INTEGER NOT NULL
) STRICT;
CREATE INDEX messages_by_session ON messages (session_id);
CREATE INDEX messages_by_parent ON messages (parent_id);

CREATE TABLE attachments (
    n           INTEGER PRIMARY KEY,
    message_id  TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    text        TEXT NOT NULL
) STRICT;
CREATE INDEX attachments_by_message ON attachments (message_id);

-- Where a reply came from. `tokens` holds the reply's own token ids (little-endian int32), so that the next turn
-- finds them in the model's cache instead of tokenizing the text again; they mean something to that model alone.
CREATE TABLE generations (
    message_id         TEXT PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    model_name         TEXT NOT NULL,
    model_sha256       TEXT NOT NULL,
    adapter_sha256     TEXT,
    sampling           TEXT NOT NULL,            -- JSON
    finish             TEXT NOT NULL,
    prompt_tokens      INTEGER NOT NULL,
    cached_tokens      INTEGER NOT NULL,
    completion_tokens  INTEGER NOT NULL,
    load_s             REAL NOT NULL,
    prefill_s          REAL NOT NULL,
    decode_s           REAL NOT NULL,
    first_token_s      REAL NOT NULL,
    tokens             BLOB
) STRICT;

CREATE VIRTUAL TABLE messages_text USING fts5 (
    text, content = 'messages', content_rowid = 'n', tokenize = 'unicode61 remove_diacritics 2'
);
INSERT INTO messages_text (messages_text, rank) VALUES ('secure-delete', 1);
CREATE TRIGGER messages_text_insert AFTER INSERT ON messages BEGIN
    INSERT INTO messages_text (rowid, text) VALUES (new.n, new.text);
END;
CREATE TRIGGER messages_text_delete AFTER DELETE ON messages BEGIN
    INSERT INTO messages_text (messages_text, rowid, text) VALUES ('delete', old.n, old.text);
END;
CREATE TRIGGER messages_text_update AFTER UPDATE OF text ON messages BEGIN
    INSERT INTO messages_text (messages_text, rowid, text) VALUES ('delete', old.n, old.text);
    INSERT INTO messages_text (rowid, text) VALUES (new.n, new.text);
END;

-- Weights are public files and lie in clear beside the vault; what they must be is kept here, out of reach of
-- whoever can change those files. `model_checks` remembers a file as it was when its digest was last computed.
CREATE TABLE models (
    name            TEXT PRIMARY KEY,
    file            TEXT NOT NULL,               -- name inside the models folder
    sha256          TEXT NOT NULL,
    bytes           INTEGER NOT NULL,
    source          TEXT NOT NULL,
    architecture    TEXT NOT NULL,
    context_length  INTEGER NOT NULL,
    parameters      INTEGER NOT NULL,
    quantization    TEXT NOT NULL,
    licence         TEXT NOT NULL,
    added_ms        INTEGER NOT NULL
) STRICT;

CREATE TABLE model_checks (
    sha256      TEXT NOT NULL,
    device      INTEGER NOT NULL,
    inode       INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    mtime_ns    INTEGER NOT NULL,
    ctime_ns    INTEGER NOT NULL,
    checked_ns  INTEGER NOT NULL,
    PRIMARY KEY (sha256)
) STRICT;
