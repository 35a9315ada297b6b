-- A refresh changes a session and a token. What no index holds of them costs one page each, instead of two for every
-- index.

-- Sessions that are over are found by the day, which a refresh seldom changes.
ALTER TABLE sessions ADD COLUMN idle_expires_day INTEGER NOT NULL
    GENERATED ALWAYS AS (idle_expires_at - idle_expires_at % 86400000000) VIRTUAL;
CREATE INDEX sessions_idle_expires_day_idx ON sessions (idle_expires_day);
DROP INDEX sessions_idle_expires_at_idx;

DROP INDEX sessions_live_idx;
CREATE INDEX sessions_live_idx ON sessions (user_id) WHERE revoked_at IS NULL;

-- The live token of a session is that of its generation, of which there is one (refresh_tokens_generation_key).
DROP INDEX refresh_tokens_live_key;
