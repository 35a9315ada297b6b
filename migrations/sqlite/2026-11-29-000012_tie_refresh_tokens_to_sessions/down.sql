CREATE TABLE refresh_tokens_rebuilt (
    id BLOB NOT NULL,
    session_id BLOB NOT NULL,
    user_id BLOB NOT NULL,
    generation INTEGER NOT NULL,
    token_hash BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    revoked_at INTEGER,
    user_agent TEXT,
    ip_address TEXT,
    created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (id),
    CONSTRAINT refresh_tokens_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE,
    CONSTRAINT refresh_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT refresh_tokens_id_check CHECK (typeof(id) = 'blob' AND length(id) = 16),
    CONSTRAINT refresh_tokens_generation_check CHECK (generation > 0),
    CONSTRAINT refresh_tokens_token_hash_check CHECK (typeof(token_hash) = 'blob' AND length(token_hash) = 32),
    CONSTRAINT refresh_tokens_user_agent_check CHECK (length(user_agent) <= 512)
);

INSERT INTO refresh_tokens_rebuilt (
    id, session_id, user_id, generation, token_hash, expires_at, used_at, revoked_at, user_agent, ip_address, created_at
)
SELECT
    id, session_id, user_id, generation, token_hash, expires_at, used_at, revoked_at, user_agent, ip_address, created_at
FROM refresh_tokens
ORDER BY rowid;

DROP TABLE refresh_tokens;
ALTER TABLE refresh_tokens_rebuilt RENAME TO refresh_tokens;

CREATE UNIQUE INDEX refresh_tokens_token_hash_key ON refresh_tokens (token_hash);
CREATE UNIQUE INDEX refresh_tokens_generation_key ON refresh_tokens (session_id, generation);
CREATE INDEX refresh_tokens_user_id_idx ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expires_at_idx ON refresh_tokens (expires_at);

DROP INDEX sessions_id_user_id_key;
