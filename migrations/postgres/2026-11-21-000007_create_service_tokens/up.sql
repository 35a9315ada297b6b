CREATE TABLE service_tokens (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    token_hash bytea NOT NULL,
    scopes text NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT service_tokens_pkey PRIMARY KEY (id),
    CONSTRAINT service_tokens_name_check CHECK (char_length(name) BETWEEN 1 AND 64),
    CONSTRAINT service_tokens_token_hash_check CHECK (octet_length(token_hash) = 32),
    CONSTRAINT service_tokens_scopes_check CHECK (char_length(scopes) BETWEEN 1 AND 1024)
);

CREATE UNIQUE INDEX service_tokens_token_hash_key ON service_tokens (token_hash);

COMMENT ON TABLE service_tokens IS 'The tokens with which services call, as digests.';
COMMENT ON COLUMN service_tokens.id IS 'UUID of version 7; names the token when it is revoked.';
COMMENT ON COLUMN service_tokens.name IS 'The service that has the token. Several tokens may have the same name, so that one can take the place of another.';
COMMENT ON COLUMN service_tokens.token_hash IS 'SHA-256 of the token. The token itself is nowhere.';
COMMENT ON COLUMN service_tokens.scopes IS 'What the service may call, separated by spaces.';
COMMENT ON COLUMN service_tokens.expires_at IS 'When the token stops being accepted; NULL if never.';
COMMENT ON COLUMN service_tokens.revoked_at IS 'When the token was revoked; NULL while it was not.';
COMMENT ON COLUMN service_tokens.last_used_at IS 'When the token was last used, to the minute; NULL if never.';
COMMENT ON COLUMN service_tokens.created_at IS 'When the token was made.';
