CREATE TABLE sessions (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    client_id text NOT NULL,
    method text NOT NULL,
    provider auth_provider,
    user_agent text,
    ip_address inet,
    generation bigint NOT NULL DEFAULT 1,
    last_refresh_at timestamptz NOT NULL DEFAULT now(),
    idle_expires_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoke_reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT sessions_pkey PRIMARY KEY (id),
    CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT sessions_client_id_check CHECK (char_length(client_id) BETWEEN 1 AND 64),
    CONSTRAINT sessions_method_check CHECK (method IN ('password', 'id_token')),
    CONSTRAINT sessions_user_agent_check CHECK (char_length(user_agent) <= 512),
    CONSTRAINT sessions_generation_check CHECK (generation > 0),
    CONSTRAINT sessions_expires_at_check CHECK (idle_expires_at <= expires_at),
    CONSTRAINT sessions_revoked_check CHECK ((revoked_at IS NULL) = (revoke_reason IS NULL))
);

CREATE INDEX sessions_user_id_idx ON sessions (user_id, created_at, id);
CREATE INDEX sessions_live_idx ON sessions (user_id, last_refresh_at) WHERE revoked_at IS NULL;
CREATE INDEX sessions_idle_expires_at_idx ON sessions (idle_expires_at);
CREATE INDEX sessions_revoked_at_idx ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

COMMENT ON TABLE sessions IS 'What a sign-in begins: a user at one client, until it expires or is ended.';
COMMENT ON COLUMN sessions.id IS 'UUID of version 7; the claim "sid" of access tokens.';
COMMENT ON COLUMN sessions.user_id IS 'Who signed in.';
COMMENT ON COLUMN sessions.client_id IS 'The application the session belongs to; only it can refresh the session.';
COMMENT ON COLUMN sessions.method IS 'How the user signed in.';
COMMENT ON COLUMN sessions.provider IS 'Who vouched for the user; NULL for a password.';
COMMENT ON COLUMN sessions.user_agent IS 'What the client calls itself, cut to 512 characters; NULL if not given.';
COMMENT ON COLUMN sessions.ip_address IS 'Where the client signed in from; NULL if not given.';
COMMENT ON COLUMN sessions.generation IS 'The number of the live refresh token, from 1; the ones before it have been used.';
COMMENT ON COLUMN sessions.last_refresh_at IS 'When the live refresh token was issued.';
COMMENT ON COLUMN sessions.idle_expires_at IS 'When the session ends unless it is refreshed before.';
COMMENT ON COLUMN sessions.expires_at IS 'When the session ends, however often it is refreshed.';
COMMENT ON COLUMN sessions.revoked_at IS 'When the session was ended; NULL while it was not.';
COMMENT ON COLUMN sessions.revoke_reason IS 'Why the session was ended.';
COMMENT ON COLUMN sessions.created_at IS 'When the user signed in.';

CREATE TABLE refresh_tokens (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    session_id uuid NOT NULL,
    user_id uuid NOT NULL,
    generation bigint NOT NULL,
    token_hash bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    revoked_at timestamptz,
    user_agent text,
    ip_address inet,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (id),
    CONSTRAINT refresh_tokens_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE,
    CONSTRAINT refresh_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT refresh_tokens_generation_check CHECK (generation > 0),
    CONSTRAINT refresh_tokens_token_hash_check CHECK (octet_length(token_hash) = 32),
    CONSTRAINT refresh_tokens_user_agent_check CHECK (char_length(user_agent) <= 512)
);

CREATE UNIQUE INDEX refresh_tokens_token_hash_key ON refresh_tokens (token_hash);
CREATE UNIQUE INDEX refresh_tokens_generation_key ON refresh_tokens (session_id, generation);
CREATE UNIQUE INDEX refresh_tokens_live_key ON refresh_tokens (session_id) WHERE used_at IS NULL AND revoked_at IS NULL;
CREATE INDEX refresh_tokens_user_id_idx ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expires_at_idx ON refresh_tokens (expires_at);

COMMENT ON TABLE refresh_tokens IS 'The refresh tokens of sessions, as digests; at most one of a session is live.';
COMMENT ON COLUMN refresh_tokens.id IS 'UUID of version 7.';
COMMENT ON COLUMN refresh_tokens.session_id IS 'The session the token refreshes.';
COMMENT ON COLUMN refresh_tokens.user_id IS 'The user of the session.';
COMMENT ON COLUMN refresh_tokens.generation IS 'The number of the token in its session, from 1.';
COMMENT ON COLUMN refresh_tokens.token_hash IS 'SHA-256 of the token. The token itself is nowhere.';
COMMENT ON COLUMN refresh_tokens.expires_at IS 'When the token expires.';
COMMENT ON COLUMN refresh_tokens.used_at IS 'When the token was exchanged for its successor; NULL while it was not.';
COMMENT ON COLUMN refresh_tokens.revoked_at IS 'When the token was revoked, with its session; NULL while it was not.';
COMMENT ON COLUMN refresh_tokens.user_agent IS 'What the client calls itself that the token was issued to; NULL if not given.';
COMMENT ON COLUMN refresh_tokens.ip_address IS 'Where that client was; NULL if not given.';
COMMENT ON COLUMN refresh_tokens.created_at IS 'When the token was issued.';
