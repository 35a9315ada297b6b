CREATE TYPE auth_provider AS ENUM ('password', 'google', 'apple', 'oidc');
COMMENT ON TYPE auth_provider IS 'How an account began: what its first credential was.';

CREATE TABLE users (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    email text,
    email_normalized text COLLATE "C",
    email_verified_at timestamptz,
    username text,
    username_normalized text COLLATE "C",
    full_name text,
    birth_date date,
    password_hash text,
    password_changed_at timestamptz,
    auth_provider auth_provider,
    is_active boolean NOT NULL DEFAULT TRUE,
    is_blocked boolean NOT NULL DEFAULT FALSE,
    block_reason text,
    tokens_valid_after timestamptz,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_identifier_check CHECK (email IS NOT NULL OR username IS NOT NULL),
    CONSTRAINT users_email_normalized_check CHECK ((email IS NULL) = (email_normalized IS NULL)),
    CONSTRAINT users_email_check CHECK (
        octet_length(email) <= 254
        AND email ~ '^[^@[:space:][:cntrl:]]+@[^@[:space:][:cntrl:]]+$'
        AND email_normalized = lower(email_normalized)
    ),
    CONSTRAINT users_email_verified_check CHECK (email_verified_at IS NULL OR email IS NOT NULL),
    CONSTRAINT users_username_normalized_check CHECK ((username IS NULL) = (username_normalized IS NULL)),
    CONSTRAINT users_username_check CHECK (
        char_length(username) <= 255
        AND username ~ '^\\[^\\[:space:][:cntrl:]]+\\[^\\[:space:][:cntrl:]]+$'
        AND username_normalized = lower(username_normalized)
    ),
    CONSTRAINT users_full_name_check CHECK (char_length(full_name) BETWEEN 1 AND 255),
    CONSTRAINT users_birth_date_check CHECK (
        birth_date BETWEEN DATE '0001-01-01' AND (now() AT TIME ZONE 'UTC')::date
    ),
    CONSTRAINT users_password_hash_check CHECK (char_length(password_hash) = 60),
    CONSTRAINT users_auth_provider_check CHECK (auth_provider <> 'password' OR password_hash IS NOT NULL),
    CONSTRAINT users_block_reason_check CHECK (
        block_reason IS NULL OR (is_blocked AND char_length(block_reason) BETWEEN 1 AND 500)
    ),
    CONSTRAINT users_version_check CHECK (version > 0)
);

CREATE UNIQUE INDEX users_email_normalized_key ON users (email_normalized);
CREATE UNIQUE INDEX users_username_normalized_key ON users (username_normalized);
CREATE INDEX users_email_prefix_idx ON users (email_normalized text_pattern_ops);
CREATE INDEX users_created_at_idx ON users (created_at, id);
CREATE INDEX users_blocked_idx ON users (created_at, id) WHERE is_blocked;

COMMENT ON TABLE users IS 'People and accounts that can be looked up and, with a credential, sign in.';
COMMENT ON COLUMN users.id IS 'UUID: version 7 from the service, version 4 for rows inserted by hand.';
COMMENT ON COLUMN users.email IS 'The address as it was typed; NULL if there is none.';
COMMENT ON COLUMN users.email_normalized IS 'The address in the form it is compared in: NFKC, lower case, domain in ASCII.';
COMMENT ON COLUMN users.email_verified_at IS 'When the address was confirmed to belong to the user; NULL if it was not.';
COMMENT ON COLUMN users.username IS 'The login name \domain\name as it was typed; NULL if there is none.';
COMMENT ON COLUMN users.username_normalized IS 'The login name in the form it is compared in: NFKC, lower case.';
COMMENT ON COLUMN users.full_name IS 'The name of the person; NULL if not known.';
COMMENT ON COLUMN users.birth_date IS 'The date of birth; NULL if not known.';
COMMENT ON COLUMN users.password_hash IS 'bcrypt hash of the password, 60 characters; NULL for a user without one.';
COMMENT ON COLUMN users.password_changed_at IS 'When the password was last set.';
COMMENT ON COLUMN users.auth_provider IS 'How the account began; NULL until it has a first credential.';
COMMENT ON COLUMN users.is_active IS 'False after a soft delete; the user may return.';
COMMENT ON COLUMN users.is_blocked IS 'True while an administrator keeps the user out.';
COMMENT ON COLUMN users.block_reason IS 'Why the user is blocked; NULL when not blocked or when no reason was given.';
COMMENT ON COLUMN users.tokens_valid_after IS 'Access tokens issued before this time are not accepted; NULL accepts all.';
COMMENT ON COLUMN users.version IS 'Counts the changes of the row, from 1; etags are derived from it.';
COMMENT ON COLUMN users.created_at IS 'When the row was created.';
COMMENT ON COLUMN users.updated_at IS 'When the row was last changed; later than before after every change.';

-- A statement that sets version and updated_at itself keeps its values if they move forward; any other,
-- such as one typed by hand, has them moved for it.
CREATE FUNCTION users_touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.version <= OLD.version THEN
        NEW.version := OLD.version + 1;
    END IF;
    IF NEW.updated_at <= OLD.updated_at THEN
        NEW.updated_at := greatest(clock_timestamp(), OLD.updated_at + interval '1 microsecond');
    END IF;
    RETURN NEW;
END;
$$;
COMMENT ON FUNCTION users_touch() IS 'Moves version and updated_at on every update of a user.';

CREATE TRIGGER users_touch BEFORE UPDATE ON users
    FOR EACH ROW EXECUTE FUNCTION users_touch();
