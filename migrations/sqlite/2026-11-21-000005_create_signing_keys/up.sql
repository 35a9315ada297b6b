CREATE TABLE signing_keys (
    kid TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    public_key BLOB NOT NULL,
    private_key BLOB NOT NULL,
    activates_at INTEGER NOT NULL,
    retires_at INTEGER,
    revoked_at INTEGER,
    created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    CONSTRAINT signing_keys_pkey PRIMARY KEY (kid),
    CONSTRAINT signing_keys_algorithm_check CHECK (algorithm IN ('ES256')),
    CONSTRAINT signing_keys_public_key_check CHECK (typeof(public_key) = 'blob' AND length(public_key) = 65)
);

CREATE UNIQUE INDEX signing_keys_newest_key ON signing_keys (retires_at IS NULL) WHERE retires_at IS NULL;
