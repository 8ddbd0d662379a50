-- Of each message where it came from, as `sessions.source` has it: an import may add to a conversation that was held
-- here, and a fork copies what was imported. NULL: said here, or imported before this was noted.
ALTER TABLE messages ADD COLUMN source TEXT;
