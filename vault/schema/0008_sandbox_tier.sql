-- The walls that programs of skills last ran behind, so that the log has an entry when they change. One row.
CREATE TABLE sandbox_tier (
    only      INTEGER PRIMARY KEY CHECK (only = 1),
    name      TEXT NOT NULL,                   -- of the tier; '' when none worked, and nothing was run
    since_ms  INTEGER NOT NULL
) STRICT;
