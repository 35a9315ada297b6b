-- A refresh token is of the user of its session. One constraint says so instead of two that did not: an exchange has one
-- row to look up, and one index less to write. The tokens of a user are found by the sessions.
--
-- SQLite changes the constraints of a table by copying it.
CREATE UNIQUE INDEX sessions_id_user_id_key ON sessions (id, user_id);

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
    CONSTRAINT refresh_tokens_session_fkey FOREIGN KEY (session_id, user_id) REFERENCES sessions (id, user_id)
        ON DELETE CASCADE,
    CONSTRAINT refresh_tokens_id_check CHECK (typeof(id) = 'blob' AND length(id) = 16),
    CONSTRAINT refresh_tokens_generation_check CHECK (generation > 0),
    CONSTRAINT refresh_tokens_token_hash_check CHECK (typeof(token_hash) = 'blob' AND length(token_hash) = 32),
    CONSTRAINT refresh_tokens_user_agent_check CHECK (length(user_agent) <= 512)
);

INSERT INTO refresh_tokens_rebuilt (
    id, session_id, user_id, generation, token_hash, expires_at, used_at, revoked_at, user_agent, ip_address, created_at
)
SELECT t.id, t.session_id, s.user_id, t.generation, t.token_hash, t.expires_at, t.used_at, t.revoked_at, t.user_agent,
    t.ip_address, t.created_at
FROM refresh_tokens AS t JOIN sessions AS s ON s.id = t.session_id
ORDER BY t.rowid;

DROP TABLE refresh_tokens;
ALTER TABLE refresh_tokens_rebuilt RENAME TO refresh_tokens;

CREATE UNIQUE INDEX refresh_tokens_token_hash_key ON refresh_tokens (token_hash);
CREATE UNIQUE INDEX refresh_tokens_generation_key ON refresh_tokens (session_id, generation);
CREATE INDEX refresh_tokens_expires_at_idx ON refresh_tokens (expires_at);
