CREATE TABLE service_tokens (
    id BLOB NOT NULL,
    name TEXT NOT NULL,
    token_hash BLOB NOT NULL,
    scopes TEXT NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    last_used_at INTEGER,
    created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    CONSTRAINT service_tokens_pkey PRIMARY KEY (id),
    CONSTRAINT service_tokens_id_check CHECK (typeof(id) = 'blob' AND length(id) = 16),
    CONSTRAINT service_tokens_name_check CHECK (length(name) BETWEEN 1 AND 64),
    CONSTRAINT service_tokens_token_hash_check CHECK (typeof(token_hash) = 'blob' AND length(token_hash) = 32),
    CONSTRAINT service_tokens_scopes_check CHECK (length(scopes) BETWEEN 1 AND 1024)
);

CREATE UNIQUE INDEX service_tokens_token_hash_key ON service_tokens (token_hash);
