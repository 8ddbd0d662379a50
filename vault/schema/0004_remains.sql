-- Whether anything went since all pages were last written anew: their unused parts may hold copies of it until
-- `vault.scrub` does so. A vault of before may hold such copies as well.
ALTER TABLE vault_state ADD COLUMN remains INTEGER NOT NULL DEFAULT 1;

CREATE TRIGGER sessions_leave_remains AFTER DELETE ON sessions
WHEN NOT (SELECT remains FROM vault_state) BEGIN
    UPDATE vault_state SET remains = 1;
END;
CREATE TRIGGER messages_leave_remains AFTER DELETE ON messages
WHEN NOT (SELECT remains FROM vault_state) BEGIN
    UPDATE vault_state SET remains = 1;
END;
CREATE TRIGGER attachments_leave_remains AFTER DELETE ON attachments
WHEN NOT (SELECT remains FROM vault_state) BEGIN
    UPDATE vault_state SET remains = 1;
END;
CREATE TRIGGER notifications_leave_remains AFTER DELETE ON notifications
WHEN NOT (SELECT remains FROM vault_state) BEGIN
    UPDATE vault_state SET remains = 1;
END;
CREATE TRIGGER log_entries_leave_remains AFTER UPDATE OF body ON log_entries
WHEN new.body IS NULL AND NOT (SELECT remains FROM vault_state) BEGIN
    UPDATE vault_state SET remains = 1;
END;
