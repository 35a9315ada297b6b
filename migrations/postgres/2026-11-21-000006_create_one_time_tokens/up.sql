CREATE TABLE one_time_tokens (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    purpose text NOT NULL,
    token_hash bytea NOT NULL,
    email_normalized text,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_time_tokens_pkey PRIMARY KEY (id),
    CONSTRAINT one_time_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT one_time_tokens_purpose_check CHECK (purpose IN ('password_reset', 'email_verification')),
    CONSTRAINT one_time_tokens_token_hash_check CHECK (octet_length(token_hash) = 32)
);

CREATE UNIQUE INDEX one_time_tokens_token_hash_key ON one_time_tokens (token_hash);
CREATE INDEX one_time_tokens_user_id_idx ON one_time_tokens (user_id, purpose);
CREATE INDEX one_time_tokens_expires_at_idx ON one_time_tokens (expires_at);

COMMENT ON TABLE one_time_tokens IS 'Tokens that reset a password or confirm an email address, as digests.';
COMMENT ON COLUMN one_time_tokens.id IS 'UUID of version 7.';
COMMENT ON COLUMN one_time_tokens.user_id IS 'Whose password or address it is.';
COMMENT ON COLUMN one_time_tokens.purpose IS 'What the token is for.';
COMMENT ON COLUMN one_time_tokens.token_hash IS 'SHA-256 of the token. The token itself is nowhere.';
COMMENT ON COLUMN one_time_tokens.email_normalized IS 'The address the user had when the token was made, in its normalised form; with another one the token is of no use.';
COMMENT ON COLUMN one_time_tokens.expires_at IS 'When the token expires.';
COMMENT ON COLUMN one_time_tokens.used_at IS 'When the token was used; NULL while it was not.';
COMMENT ON COLUMN one_time_tokens.created_at IS 'When the token was made.';
