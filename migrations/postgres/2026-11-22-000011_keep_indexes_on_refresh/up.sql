-- A refresh changes a session and a token. As long as no index holds what it changes and the page has room, PostgreSQL
-- writes no entry to any index for it (a heap-only update), and the old row is reclaimed without a vacuum.
ALTER TABLE sessions SET (fillfactor = 90);
ALTER TABLE refresh_tokens SET (fillfactor = 90);

-- Sessions that are over are found by the day, which a refresh seldom changes.
ALTER TABLE sessions ADD COLUMN idle_expires_day timestamptz NOT NULL
    GENERATED ALWAYS AS (date_trunc('day', idle_expires_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC') STORED;
COMMENT ON COLUMN sessions.idle_expires_day IS 'When the day of idle_expires_at begins, in UTC.';
CREATE INDEX sessions_idle_expires_day_idx ON sessions (idle_expires_day);
DROP INDEX sessions_idle_expires_at_idx;

DROP INDEX sessions_live_idx;
CREATE INDEX sessions_live_idx ON sessions (user_id) WHERE revoked_at IS NULL;

-- The live token of a session is that of its generation, of which there is one (refresh_tokens_generation_key).
DROP INDEX refresh_tokens_live_key;
