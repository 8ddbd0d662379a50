-- What learning took on each day, so that a day's limits hold over restarts, too.
CREATE TABLE learning_days (
    day         TEXT PRIMARY KEY,              -- YYYY-MM-DD, UTC
    trained_ms  INTEGER NOT NULL CHECK (trained_ms >= 0),
    uploaded    INTEGER NOT NULL CHECK (uploaded >= 0)     -- bytes
) STRICT;
