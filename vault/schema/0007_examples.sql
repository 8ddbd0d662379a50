-- Examples that a skill can be trained on: what went in and what should have come out, both sealed. They are there
-- because a person gave them, or accepted or corrected a result and had enabled that.
CREATE TABLE skill_examples (
    id          TEXT PRIMARY KEY,
    skill       TEXT NOT NULL,                 -- by name: it may come and go, as bundled ones do with the program
    kind        TEXT NOT NULL CHECK (kind IN ('accepted', 'corrected', 'added', 'imported')),
    source      TEXT NOT NULL,                 -- name of the file it came from, 'import:' before that of many; or ''
    created_ms  INTEGER NOT NULL,
    input       BLOB NOT NULL,                 -- sealed
    output      BLOB NOT NULL                  -- sealed
) STRICT;
CREATE INDEX skill_examples_by_skill ON skill_examples (skill, created_ms);
CREATE TRIGGER skill_examples_leave_remains AFTER DELETE ON skill_examples
WHEN NOT (SELECT remains FROM vault_state) BEGIN
    UPDATE vault_state SET remains = 1;
END;
