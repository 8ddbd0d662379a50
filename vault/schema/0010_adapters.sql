-- Adapters that were trained for a skill and a model: the weights in sealed parts, and what they were learned from.
CREATE TABLE skill_adapters (
    id           TEXT PRIMARY KEY,
    skill        TEXT NOT NULL,                -- by name, as for examples
    base_sha256  TEXT NOT NULL CHECK (length(base_sha256) = 64 AND base_sha256 NOT GLOB '*[^0-9a-f]*'),
    version      INTEGER NOT NULL CHECK (version >= 1),
    active       INTEGER NOT NULL CHECK (active IN (0, 1)),
    sha256       TEXT NOT NULL CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
    bytes        INTEGER NOT NULL CHECK (bytes BETWEEN 1 AND 67108864),
    kind         TEXT NOT NULL CHECK (kind IN ('ffa', 'core')),
    rank         INTEGER NOT NULL CHECK (rank >= 1),
    parameters   INTEGER NOT NULL CHECK (parameters >= 1),
    examples     INTEGER NOT NULL CHECK (examples >= 0),
    loss_before  REAL,                         -- on held-out examples, in nats a token
    loss_after   REAL,
    created_ms   INTEGER NOT NULL,
    UNIQUE (skill, base_sha256, version)
) STRICT;
CREATE UNIQUE INDEX skill_adapters_active ON skill_adapters (skill, base_sha256) WHERE active = 1;
CREATE TABLE skill_adapter_parts (
    adapter  TEXT NOT NULL REFERENCES skill_adapters (id) ON DELETE CASCADE,
    part     INTEGER NOT NULL CHECK (part >= 0),
    data     BLOB NOT NULL,                    -- sealed
    PRIMARY KEY (adapter, part)
) STRICT;
CREATE TABLE skill_adapter_examples (
    adapter  TEXT NOT NULL REFERENCES skill_adapters (id) ON DELETE CASCADE,
    example  TEXT NOT NULL,                    -- its id; it may be gone, and the adapter have learned from it all the same
    source   TEXT NOT NULL,                    -- where it came from
    PRIMARY KEY (adapter, example)
) STRICT;
CREATE INDEX skill_adapter_examples_by_example ON skill_adapter_examples (example);
CREATE TRIGGER skill_adapters_leave_remains AFTER DELETE ON skill_adapters
WHEN NOT (SELECT remains FROM vault_state) BEGIN
    UPDATE vault_state SET remains = 1;
END;
