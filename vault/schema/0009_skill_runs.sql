-- What a run of a skill has been told by the model so far, kept until the run is finished, so that one that is stopped
-- goes on where it was. `id` and `request` are digests: of skill, input, question and model, and of what was asked.
CREATE TABLE skill_runs (
    id          TEXT PRIMARY KEY CHECK (length(id) = 64 AND id NOT GLOB '*[^0-9a-f]*'),
    skill       TEXT NOT NULL,
    started_ms  INTEGER NOT NULL,
    updated_ms  INTEGER NOT NULL
) STRICT;
CREATE TABLE skill_run_answers (
    run      TEXT NOT NULL REFERENCES skill_runs (id) ON DELETE CASCADE,
    request  TEXT NOT NULL CHECK (length(request) = 64 AND request NOT GLOB '*[^0-9a-f]*'),
    answer   BLOB NOT NULL,                      -- sealed
    PRIMARY KEY (run, request)
) STRICT;
CREATE TRIGGER skill_runs_leave_remains AFTER DELETE ON skill_runs
WHEN NOT (SELECT remains FROM vault_state) BEGIN
    UPDATE vault_state SET remains = 1;
END;
