CREATE TABLE sessions (
    id BLOB NOT NULL,
    user_id BLOB NOT NULL,
    client_id TEXT NOT NULL,
    method TEXT NOT NULL,
    provider TEXT,
    user_agent TEXT,
    ip_address TEXT,
    generation INTEGER NOT NULL DEFAULT 1,
    last_refresh_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    idle_expires_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER,
    revoke_reason TEXT,
    created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    CONSTRAINT sessions_pkey PRIMARY KEY (id),
    CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT sessions_id_check CHECK (typeof(id) = 'blob' AND length(id) = 16),
    CONSTRAINT sessions_client_id_check CHECK (length(client_id) BETWEEN 1 AND 64),
    CONSTRAINT sessions_method_check CHECK (method IN ('password', 'id_token')),
    CONSTRAINT sessions_provider_check CHECK (provider IS NULL OR provider IN ('password', 'google', 'apple', 'oidc')),
    CONSTRAINT sessions_user_agent_check CHECK (length(user_agent) <= 512),
    CONSTRAINT sessions_generation_check CHECK (generation > 0),
    CONSTRAINT sessions_expires_at_check CHECK (idle_expires_at <= expires_at),
    CONSTRAINT sessions_revoked_check CHECK ((revoked_at IS NULL) = (revoke_reason IS NULL))
);

CREATE INDEX sessions_user_id_idx ON sessions (user_id, created_at, id);
CREATE INDEX sessions_live_idx ON sessions (user_id, last_refresh_at) WHERE revoked_at IS NULL;
CREATE INDEX sessions_idle_expires_at_idx ON sessions (idle_expires_at);
CREATE INDEX sessions_revoked_at_idx ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

CREATE TABLE refresh_tokens (
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

CREATE UNIQUE INDEX refresh_tokens_token_hash_key ON refresh_tokens (token_hash);
CREATE UNIQUE INDEX refresh_tokens_generation_key ON refresh_tokens (session_id, generation);
CREATE UNIQUE INDEX refresh_tokens_live_key ON refresh_tokens (session_id) WHERE used_at IS NULL AND revoked_at IS NULL;
CREATE INDEX refresh_tokens_user_id_idx ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expires_at_idx ON refresh_tokens (expires_at);
