-- An account is written before the user that it begins, so that of parallel first sign-ins one waits for the other at the
-- unique index and nothing else has been written yet. The foreign key is therefore looked at when the transaction ends.
CREATE TABLE oauth_accounts (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    provider text NOT NULL,
    issuer text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    email text,
    email_verified boolean NOT NULL DEFAULT FALSE,
    last_sign_in_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT oauth_accounts_pkey PRIMARY KEY (id),
    CONSTRAINT oauth_accounts_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
        DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT oauth_accounts_provider_check CHECK (char_length(provider) BETWEEN 1 AND 64),
    CONSTRAINT oauth_accounts_issuer_check CHECK (char_length(issuer) BETWEEN 1 AND 255),
    CONSTRAINT oauth_accounts_subject_check CHECK (subject ~ '^[\x20-\x7E]{1,255}$'),
    CONSTRAINT oauth_accounts_email_check CHECK (octet_length(email) <= 254),
    CONSTRAINT oauth_accounts_email_verified_check CHECK (email IS NOT NULL OR NOT email_verified)
);

CREATE UNIQUE INDEX oauth_accounts_subject_key ON oauth_accounts (issuer, subject);
CREATE INDEX oauth_accounts_user_id_idx ON oauth_accounts (user_id, created_at, id);

COMMENT ON TABLE oauth_accounts IS 'Accounts at providers that users sign in with. An account is one user''s; a user has any number.';
COMMENT ON COLUMN oauth_accounts.id IS 'UUID of version 7.';
COMMENT ON COLUMN oauth_accounts.user_id IS 'Whose account it is.';
COMMENT ON COLUMN oauth_accounts.provider IS 'The name of the provider in the configuration when the account was linked.';
COMMENT ON COLUMN oauth_accounts.issuer IS 'Who issues the ID tokens of the account: their claim "iss", in one spelling.';
COMMENT ON COLUMN oauth_accounts.subject IS 'The account at that issuer: the claim "sub". With the issuer it is what an account is known by, and nothing else is.';
COMMENT ON COLUMN oauth_accounts.email IS 'The address that the provider last named; NULL if it named none. Nobody is found by it.';
COMMENT ON COLUMN oauth_accounts.email_verified IS 'Whether the provider said that the address belongs to the account.';
COMMENT ON COLUMN oauth_accounts.last_sign_in_at IS 'When the account was last signed in with; NULL if it never was.';
COMMENT ON COLUMN oauth_accounts.created_at IS 'When the account was linked.';
COMMENT ON COLUMN oauth_accounts.updated_at IS 'When the row was last changed.';

-- Whoever has had a credential keeps one. The row of the user is locked before anything is looked at, so that of two
-- transactions that each take away what the other one leaves, the later one sees what the earlier one did.
CREATE FUNCTION users_credential_check(checked uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM users WHERE id = checked FOR NO KEY UPDATE;
    IF EXISTS (SELECT 1 FROM users WHERE id = checked AND auth_provider IS NOT NULL AND password_hash IS NULL)
        AND NOT EXISTS (SELECT 1 FROM oauth_accounts WHERE user_id = checked)
    THEN
        RAISE EXCEPTION 'a user that has begun with a credential has none'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'users_credential_check', TABLE = 'users';
    END IF;
END;
$$;
COMMENT ON FUNCTION users_credential_check(uuid) IS 'Refuses a user with an auth_provider and neither a password nor a linked account.';

CREATE FUNCTION users_keep_credential() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM users_credential_check(NEW.id);
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION users_keep_credential() IS 'Calls users_credential_check for a user that was written.';

CREATE FUNCTION oauth_accounts_keep_credential() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM users_credential_check(OLD.user_id);
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION oauth_accounts_keep_credential() IS 'Calls users_credential_check for the user that lost an account.';

CREATE CONSTRAINT TRIGGER users_credential_check AFTER INSERT OR UPDATE OF auth_provider, password_hash ON users
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.auth_provider IS NOT NULL AND NEW.password_hash IS NULL)
    EXECUTE FUNCTION users_keep_credential();
CREATE CONSTRAINT TRIGGER oauth_accounts_credential_check AFTER DELETE OR UPDATE OF user_id ON oauth_accounts
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION oauth_accounts_keep_credential();

ALTER TABLE user_events
    DROP CONSTRAINT user_events_type_check,
    ADD CONSTRAINT user_events_type_check CHECK (type IN (
        'user_created', 'user_updated', 'user_deactivated', 'user_reactivated', 'user_blocked', 'user_unblocked',
        'user_deleted', 'password_set', 'password_changed', 'password_reset', 'password_removed', 'email_verified',
        'sessions_revoked', 'refresh_token_reused', 'lockout_cleared', 'oauth_account_linked', 'oauth_account_unlinked'
    ));
