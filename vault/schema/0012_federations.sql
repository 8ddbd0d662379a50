-- Federations that this device belongs to, what the person agreed to, and what became of it.
CREATE TABLE federations (
    id           TEXT PRIMARY KEY CHECK (length(id) = 64 AND id NOT GLOB '*[^0-9a-f]*'),
    name         TEXT NOT NULL,
    address      TEXT NOT NULL,
    pins         BLOB NOT NULL CHECK (length(pins) IN (32, 64)),
    registrar    BLOB NOT NULL CHECK (length(registrar) = 32),
    log          BLOB NOT NULL CHECK (length(log) = 32),
    identity     BLOB NOT NULL,                 -- sealed: this device's key there, made for it alone
    invite       BLOB,                          -- sealed: until the registrar has admitted the device
    certificate  BLOB CHECK (length(certificate) = 64),
    counter      INTEGER NOT NULL CHECK (counter >= 0),     -- no request has had a higher one
    log_size     INTEGER NOT NULL CHECK (log_size >= 0),    -- of the log of releases, as it was seen last
    log_root     BLOB NOT NULL CHECK (length(log_root) = 32),
    checkpoint   TEXT NOT NULL,                 -- that said so; evidence, should another one contradict it
    joined_ms    INTEGER NOT NULL
) STRICT;
CREATE TABLE consents (
    version      INTEGER PRIMARY KEY AUTOINCREMENT,          -- never used twice
    federation   TEXT NOT NULL,
    name         TEXT NOT NULL,                 -- of the federation, as it was shown
    task         TEXT NOT NULL,                 -- its digest; empty: consent to belong to the federation
    task_name    TEXT NOT NULL,
    message      BLOB NOT NULL,                 -- the task itself
    source       TEXT NOT NULL,                 -- the data that it is about: examples:SKILL
    text         TEXT NOT NULL,                 -- what was shown and agreed to
    installs     TEXT NOT NULL CHECK (installs IN ('better', 'ask')),
    given_ms     INTEGER NOT NULL,
    withdrawn_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX consents_held ON consents (federation, task_name) WHERE withdrawn_ms IS NULL;
CREATE TABLE participations (
    federation   TEXT NOT NULL,
    task         TEXT NOT NULL,
    round        INTEGER NOT NULL,
    consent      INTEGER NOT NULL,
    release      INTEGER NOT NULL,              -- that it began with
    began_ms     INTEGER NOT NULL,
    cohort       INTEGER NOT NULL DEFAULT 0,    -- once it is known
    sent_ms      INTEGER,                       -- written down before the update leaves: from then on it counts
    bytes        INTEGER NOT NULL DEFAULT 0,
    sha256       TEXT NOT NULL DEFAULT '',
    outcome      TEXT NOT NULL DEFAULT '',      -- empty while it goes on
    PRIMARY KEY (federation, task, round)
) STRICT;
CREATE TABLE federation_releases (
    federation   TEXT NOT NULL,
    task         TEXT NOT NULL,
    number       INTEGER NOT NULL,
    sha256       TEXT NOT NULL,                 -- of its numbers
    cohort       INTEGER NOT NULL,
    survivors    INTEGER NOT NULL,
    seen_ms      INTEGER NOT NULL,
    loss_before  REAL,                          -- on held-out examples of one's own: with what was in use
    loss_after   REAL,                          -- and with it
    decision     TEXT NOT NULL CHECK (decision IN ('accepted', 'refused', 'waiting')),
    adapter      TEXT REFERENCES skill_adapters (id) ON DELETE SET NULL,
    PRIMARY KEY (federation, task, number)
) STRICT;
ALTER TABLE skill_adapters ADD COLUMN origin TEXT NOT NULL DEFAULT '';     -- empty: trained here; else of which federation
CREATE TRIGGER federations_leave_remains AFTER DELETE ON federations
WHEN NOT (SELECT remains FROM vault_state) BEGIN
    UPDATE vault_state SET remains = 1;
END;
