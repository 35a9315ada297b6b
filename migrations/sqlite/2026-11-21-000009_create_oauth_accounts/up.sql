-- An account is written before the user that it begins, as on PostgreSQL. The foreign key is therefore looked at when the
-- transaction ends.
CREATE TABLE oauth_accounts (
    id BLOB NOT NULL,
    user_id BLOB NOT NULL,
    provider TEXT NOT NULL,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    email TEXT,
    email_verified BOOLEAN NOT NULL DEFAULT FALSE,
    last_sign_in_at INTEGER,
    created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    updated_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    CONSTRAINT oauth_accounts_pkey PRIMARY KEY (id),
    CONSTRAINT oauth_accounts_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
        DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT oauth_accounts_id_check CHECK (typeof(id) = 'blob' AND length(id) = 16),
    CONSTRAINT oauth_accounts_provider_check CHECK (length(provider) BETWEEN 1 AND 64),
    CONSTRAINT oauth_accounts_issuer_check CHECK (length(issuer) BETWEEN 1 AND 255),
    CONSTRAINT oauth_accounts_subject_check CHECK (
        typeof(subject) = 'text' AND octet_length(subject) BETWEEN 1 AND 255
        AND subject NOT GLOB '*[^ -~]*' AND instr(subject, char(0)) = 0
    ),
    CONSTRAINT oauth_accounts_email_check CHECK (octet_length(email) <= 254),
    CONSTRAINT oauth_accounts_email_verified_check CHECK (
        email_verified IN (0, 1) AND (email IS NOT NULL OR NOT email_verified)
    )
);

CREATE UNIQUE INDEX oauth_accounts_subject_key ON oauth_accounts (issuer, subject);
CREATE INDEX oauth_accounts_user_id_idx ON oauth_accounts (user_id, created_at, id);

-- Whoever has had a credential keeps one. One transaction writes at a time, so that these can look at once.
CREATE TRIGGER users_credential_check_insert BEFORE INSERT ON users
    WHEN NEW.auth_provider IN ('google', 'apple', 'oidc') AND NEW.password_hash IS NULL
        AND NOT EXISTS (SELECT 1 FROM oauth_accounts WHERE user_id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: users_credential_check');
END;

CREATE TRIGGER users_credential_check_update BEFORE UPDATE OF auth_provider, password_hash ON users
    WHEN NEW.auth_provider IN ('google', 'apple', 'oidc') AND NEW.password_hash IS NULL
        AND NOT EXISTS (SELECT 1 FROM oauth_accounts WHERE user_id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: users_credential_check');
END;

-- A user that is being deleted is gone before its accounts are.
CREATE TRIGGER oauth_accounts_credential_check_delete AFTER DELETE ON oauth_accounts
    WHEN EXISTS (SELECT 1 FROM users WHERE id = OLD.user_id AND auth_provider IS NOT NULL AND password_hash IS NULL)
        AND NOT EXISTS (SELECT 1 FROM oauth_accounts WHERE user_id = OLD.user_id)
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: users_credential_check');
END;

CREATE TRIGGER oauth_accounts_credential_check_update AFTER UPDATE OF user_id ON oauth_accounts
    WHEN EXISTS (SELECT 1 FROM users WHERE id = OLD.user_id AND auth_provider IS NOT NULL AND password_hash IS NULL)
        AND NOT EXISTS (SELECT 1 FROM oauth_accounts WHERE user_id = OLD.user_id)
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: users_credential_check');
END;

-- SQLite cannot change a check, so that the table is made anew with two types more.
CREATE TABLE user_events_rebuilt (
    sequence INTEGER NOT NULL,
    id BLOB NOT NULL,
    user_id BLOB NOT NULL,
    type TEXT NOT NULL,
    changed_fields TEXT,
    actor_kind TEXT NOT NULL,
    actor_name TEXT,
    session_id BLOB,
    correlation_id TEXT NOT NULL,
    occurred_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    CONSTRAINT user_events_pkey PRIMARY KEY (sequence AUTOINCREMENT),
    CONSTRAINT user_events_id_check CHECK (typeof(id) = 'blob' AND length(id) = 16),
    CONSTRAINT user_events_user_id_check CHECK (typeof(user_id) = 'blob' AND length(user_id) = 16),
    CONSTRAINT user_events_type_check CHECK (type IN (
        'user_created', 'user_updated', 'user_deactivated', 'user_reactivated', 'user_blocked', 'user_unblocked',
        'user_deleted', 'password_set', 'password_changed', 'password_reset', 'password_removed', 'email_verified',
        'sessions_revoked', 'refresh_token_reused', 'lockout_cleared', 'oauth_account_linked', 'oauth_account_unlinked'
    )),
    CONSTRAINT user_events_changed_fields_check CHECK (
        (changed_fields IS NOT NULL) = (type = 'user_updated')
        -- Names and spaces, and nothing that a value would have.
        AND (changed_fields IS NULL OR (length(changed_fields) BETWEEN 1 AND 64 AND changed_fields NOT GLOB '*[^a-z_ ]*'))
    ),
    CONSTRAINT user_events_actor_kind_check CHECK (
        actor_kind IN ('anonymous', 'service', 'certificate', 'user', 'operator', 'system')
    ),
    CONSTRAINT user_events_actor_name_check CHECK (
        (actor_name IS NOT NULL) = (actor_kind IN ('service', 'certificate', 'user'))
        AND (actor_name IS NULL OR length(actor_name) BETWEEN 1 AND 255)
    ),
    CONSTRAINT user_events_session_id_check CHECK (
        session_id IS NULL
        OR (type IN ('sessions_revoked', 'refresh_token_reused')
            AND typeof(session_id) = 'blob' AND length(session_id) = 16)
    ),
    CONSTRAINT user_events_correlation_id_check CHECK (length(correlation_id) BETWEEN 1 AND 128)
);

INSERT INTO user_events_rebuilt (sequence, id, user_id, type, changed_fields, actor_kind, actor_name, session_id, correlation_id, occurred_at)
    SELECT sequence, id, user_id, type, changed_fields, actor_kind, actor_name, session_id, correlation_id, occurred_at
    FROM user_events;
-- The counter goes on where it was: the number of an event that was purged is not given to another one.
DELETE FROM sqlite_sequence WHERE name = 'user_events_rebuilt';
INSERT INTO sqlite_sequence (name, seq) SELECT 'user_events_rebuilt', seq FROM sqlite_sequence WHERE name = 'user_events';
DROP TABLE user_events;
ALTER TABLE user_events_rebuilt RENAME TO user_events;

CREATE UNIQUE INDEX user_events_id_key ON user_events (id);
CREATE INDEX user_events_occurred_at_idx ON user_events (occurred_at, id);
CREATE INDEX user_events_user_id_idx ON user_events (user_id, occurred_at, id);
CREATE INDEX user_events_actor_kind_idx ON user_events (actor_kind, occurred_at, id);
CREATE INDEX user_events_actor_idx ON user_events (actor_kind, actor_name, occurred_at, id);
CREATE INDEX user_events_type_idx ON user_events (type, occurred_at, id);
