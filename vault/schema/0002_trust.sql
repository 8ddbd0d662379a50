-- What trust stands on: state that the rollback anchor mirrors, sealed fields, the transparency log, and what is
-- remembered of things that are gone. `vault.inventory` states the class of every column here.
ALTER TABLE sessions ADD COLUMN archived_ms INTEGER;
ALTER TABLE sessions ADD COLUMN source TEXT NOT NULL DEFAULT '';    -- empty: written here; else what it came from

-- Files a person attached are sealed field by field. seal_field() is registered by `vault.database`.
CREATE TABLE sealed_attachments (
    n           INTEGER PRIMARY KEY,
    message_id  TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    text        BLOB NOT NULL
) STRICT;
INSERT INTO sealed_attachments (n, message_id, name, text)
    SELECT n, message_id, name, seal_field('attachments', CAST(n AS TEXT), 'text', CAST(text AS BLOB))
    FROM attachments;
DROP TABLE attachments;
ALTER TABLE sealed_attachments RENAME TO attachments;
CREATE INDEX attachments_by_message ON attachments (message_id);

-- One row. `epoch` counts the transactions that wrote; the anchor outside the file remembers the newest.
CREATE TABLE vault_state (
    only         INTEGER PRIMARY KEY CHECK (only = 1),
    epoch        INTEGER NOT NULL,
    field_epoch  INTEGER NOT NULL,             -- which generation of field keys seals new values
    created_ms   INTEGER NOT NULL,
    rotated_ms   INTEGER NOT NULL,
    retained_ms  INTEGER NOT NULL,             -- when what was kept long enough last went
    slots_epoch  INTEGER NOT NULL,             -- of the newest keyslots.json
    before       BLOB NOT NULL                 -- MAC of all pages as they were before the newest transaction
) STRICT;
INSERT INTO vault_state VALUES (1, 0, 1, CAST(unixepoch('subsec') * 1000 AS INTEGER),
                                CAST(unixepoch('subsec') * 1000 AS INTEGER), 0, 0, x'');

CREATE TABLE secrets (
    name   TEXT PRIMARY KEY,
    value  BLOB NOT NULL                       -- sealed
) STRICT;

-- Append-only; when an entry's time is over, its salt and body go and its leaf stays, so that proofs still hold.
CREATE TABLE log_entries (
    seq         INTEGER PRIMARY KEY,           -- leaf index, from 0
    at_ms       INTEGER,
    sensitive   INTEGER NOT NULL,
    commitment  BLOB NOT NULL,                 -- leaf data, 32 bytes
    root        BLOB NOT NULL,                 -- tree head after this entry, 32 bytes
    salt        BLOB,
    body        BLOB
) STRICT;
CREATE TABLE log_state (
    only        INTEGER PRIMARY KEY CHECK (only = 1),
    size        INTEGER NOT NULL,
    frontier    BLOB NOT NULL,
    checkpoint  TEXT NOT NULL
) STRICT;

-- What was erased on purpose: a backup made before doesn't bring it back.
CREATE TABLE tombstones (
    kind       TEXT NOT NULL,
    id         TEXT NOT NULL,
    erased_ms  INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;

CREATE TABLE retention (
    kind  TEXT PRIMARY KEY,
    days  INTEGER                              -- NULL: kept until erased
) STRICT;

CREATE TABLE notifications (
    n        INTEGER PRIMARY KEY,
    at_ms    INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    details  TEXT NOT NULL,                    -- JSON; never text of a message
    seen_ms  INTEGER
) STRICT;

CREATE TABLE egress_days (
    day       TEXT PRIMARY KEY,                -- YYYY-MM-DD, UTC
    sent      INTEGER NOT NULL,
    received  INTEGER NOT NULL
) STRICT;

CREATE TABLE slots_seen (
    slot_id   TEXT PRIMARY KEY,
    first_ms  INTEGER NOT NULL
) STRICT;
