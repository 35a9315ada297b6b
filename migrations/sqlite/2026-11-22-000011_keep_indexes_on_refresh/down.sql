CREATE UNIQUE INDEX refresh_tokens_live_key ON refresh_tokens (session_id) WHERE used_at IS NULL AND revoked_at IS NULL;

DROP INDEX sessions_live_idx;
CREATE INDEX sessions_live_idx ON sessions (user_id, last_refresh_at) WHERE revoked_at IS NULL;

CREATE INDEX sessions_idle_expires_at_idx ON sessions (idle_expires_at);
DROP INDEX sessions_idle_expires_day_idx;
ALTER TABLE sessions DROP COLUMN idle_expires_day;
