CREATE TABLE signing_keys (
    kid text NOT NULL,
    algorithm text NOT NULL,
    public_key bytea NOT NULL,
    private_key bytea NOT NULL,
    activates_at timestamptz NOT NULL,
    retires_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT signing_keys_pkey PRIMARY KEY (kid),
    CONSTRAINT signing_keys_algorithm_check CHECK (algorithm IN ('ES256')),
    CONSTRAINT signing_keys_public_key_check CHECK (octet_length(public_key) = 65)
);

CREATE UNIQUE INDEX signing_keys_newest_key ON signing_keys ((retires_at IS NULL)) WHERE retires_at IS NULL;

COMMENT ON TABLE signing_keys IS 'The keys that sign access tokens. One signs at a time; the one without a time of retirement is the newest.';
COMMENT ON COLUMN signing_keys.kid IS 'The thumbprint of the public key (RFC 7638), which tokens name.';
COMMENT ON COLUMN signing_keys.algorithm IS 'The algorithm (RFC 7518).';
COMMENT ON COLUMN signing_keys.public_key IS 'The public key: an uncompressed point of the curve P-256.';
COMMENT ON COLUMN signing_keys.private_key IS 'The private key (PKCS #8), encrypted with AES-256-GCM under a key derived from the master key, bound to kid.';
COMMENT ON COLUMN signing_keys.activates_at IS 'From when the key signs; it is published before.';
COMMENT ON COLUMN signing_keys.retires_at IS 'From when its successor signs; it is published until its last token has expired. NULL for the newest key.';
COMMENT ON COLUMN signing_keys.revoked_at IS 'When the key was given up: nothing it signed is accepted any more. NULL if it was not.';
COMMENT ON COLUMN signing_keys.created_at IS 'When the key was made.';
