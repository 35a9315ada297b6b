-- The version before does not know these two, and could not list the others beside them.
DELETE FROM user_events WHERE type IN ('oauth_account_linked', 'oauth_account_unlinked');
ALTER TABLE user_events
    DROP CONSTRAINT user_events_type_check,
    ADD CONSTRAINT user_events_type_check CHECK (type IN (
        'user_created', 'user_updated', 'user_deactivated', 'user_reactivated', 'user_blocked', 'user_unblocked',
        'user_deleted', 'password_set', 'password_changed', 'password_reset', 'password_removed', 'email_verified',
        'sessions_revoked', 'refresh_token_reused', 'lockout_cleared'
    ));

DROP TRIGGER users_credential_check ON users;
DROP TABLE oauth_accounts;
DROP FUNCTION oauth_accounts_keep_credential();
DROP FUNCTION users_keep_credential();
DROP FUNCTION users_credential_check(uuid);
