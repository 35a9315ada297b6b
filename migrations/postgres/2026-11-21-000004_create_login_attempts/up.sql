CREATE TABLE login_attempts (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid,
    identifier text,
    ip_address inet,
    user_agent text,
    method text NOT NULL,
    success boolean NOT NULL,
    failure_reason text,
    attempted_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT login_attempts_pkey PRIMARY KEY (id),
    CONSTRAINT login_attempts_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE SET NULL,
    CONSTRAINT login_attempts_identifier_check CHECK (char_length(identifier) BETWEEN 1 AND 255),
    CONSTRAINT login_attempts_user_agent_check CHECK (char_length(user_agent) <= 512),
    CONSTRAINT login_attempts_method_check CHECK (method IN ('password', 'id_token', 'refresh_token')),
    CONSTRAINT login_attempts_failure_reason_check CHECK (success = (failure_reason IS NULL))
);

CREATE INDEX login_attempts_user_id_idx ON login_attempts (user_id, attempted_at, id);
CREATE INDEX login_attempts_identifier_idx ON login_attempts (identifier, attempted_at, id);
CREATE INDEX login_attempts_attempted_at_idx ON login_attempts (attempted_at, id);

COMMENT ON TABLE login_attempts IS 'Attempts to sign in that were decided, and refresh tokens that were refused as stolen.';
COMMENT ON COLUMN login_attempts.id IS 'UUID of version 7.';
COMMENT ON COLUMN login_attempts.user_id IS 'Who was meant; NULL if there is no such user, or not any more.';
COMMENT ON COLUMN login_attempts.identifier IS 'The login name as typed if it has the form of one, otherwise "sha256:" and a digest: people type passwords there. NULL after the user was deleted and for refresh tokens.';
COMMENT ON COLUMN login_attempts.ip_address IS 'Where the client was; NULL if not given.';
COMMENT ON COLUMN login_attempts.user_agent IS 'What the client calls itself, cut to 512 characters; NULL if not given.';
COMMENT ON COLUMN login_attempts.method IS 'What was presented.';
COMMENT ON COLUMN login_attempts.success IS 'Whether it was accepted.';
COMMENT ON COLUMN login_attempts.failure_reason IS 'Why it was not accepted; NULL if it was.';
COMMENT ON COLUMN login_attempts.attempted_at IS 'When it was decided.';

CREATE TABLE lockouts (
    subject bytea NOT NULL,
    network bytea NOT NULL,
    failures integer NOT NULL DEFAULT 0,
    counted_from timestamptz NOT NULL DEFAULT now(),
    retry_at timestamptz NOT NULL DEFAULT now(),
    last_success_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT lockouts_pkey PRIMARY KEY (subject, network),
    CONSTRAINT lockouts_subject_check CHECK (octet_length(subject) = 32),
    CONSTRAINT lockouts_network_check CHECK (octet_length(network) IN (0, 32)),
    CONSTRAINT lockouts_failures_check CHECK (failures >= 0)
);

CREATE INDEX lockouts_updated_at_idx ON lockouts (updated_at);

COMMENT ON TABLE lockouts IS 'Failed attempts by login name and network, which decide when the next attempt is allowed.';
COMMENT ON COLUMN lockouts.subject IS 'Who is meant: an HMAC of the id of the user or, where there is none, of the login name.';
COMMENT ON COLUMN lockouts.network IS 'Where the client is: an HMAC of subject and network; empty in the row that counts for all networks.';
COMMENT ON COLUMN lockouts.failures IS 'Attempts that failed or are not decided yet.';
COMMENT ON COLUMN lockouts.counted_from IS 'When the first of them was made; for all networks, when the last was.';
COMMENT ON COLUMN lockouts.retry_at IS 'When the next attempt is allowed.';
COMMENT ON COLUMN lockouts.last_success_at IS 'When the user last signed in from the network; NULL if never.';
COMMENT ON COLUMN lockouts.updated_at IS 'When the row was last changed.';
