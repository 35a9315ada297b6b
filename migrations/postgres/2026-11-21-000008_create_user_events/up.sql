CREATE TABLE user_events (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    user_id uuid NOT NULL,
    type text NOT NULL,
    changed_fields text,
    actor_kind text NOT NULL,
    actor_name text,
    session_id uuid,
    correlation_id text NOT NULL,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT user_events_pkey PRIMARY KEY (id),
    CONSTRAINT user_events_type_check CHECK (type IN (
        'user_created', 'user_updated', 'user_deactivated', 'user_reactivated', 'user_blocked', 'user_unblocked',
        'user_deleted', 'password_set', 'password_changed', 'password_reset', 'password_removed', 'email_verified',
        'sessions_revoked', 'refresh_token_reused', 'lockout_cleared'
    )),
    CONSTRAINT user_events_changed_fields_check CHECK (
        (changed_fields IS NOT NULL) = (type = 'user_updated')
        AND changed_fields ~ '^(email|username|full_name|birth_date|email_verified)( (email|username|full_name|birth_date|email_verified))*$'
    ),
    CONSTRAINT user_events_actor_kind_check CHECK (
        actor_kind IN ('anonymous', 'service', 'certificate', 'user', 'operator', 'system')
    ),
    CONSTRAINT user_events_actor_name_check CHECK (
        (actor_name IS NOT NULL) = (actor_kind IN ('service', 'certificate', 'user'))
        AND char_length(actor_name) BETWEEN 1 AND 255
    ),
    CONSTRAINT user_events_session_id_check CHECK (
        session_id IS NULL OR type IN ('sessions_revoked', 'refresh_token_reused')
    ),
    CONSTRAINT user_events_correlation_id_check CHECK (char_length(correlation_id) BETWEEN 1 AND 128)
);

CREATE UNIQUE INDEX user_events_sequence_key ON user_events (sequence);
CREATE INDEX user_events_transaction_id_idx ON user_events (transaction_id, sequence);
CREATE INDEX user_events_occurred_at_idx ON user_events (occurred_at, id);
CREATE INDEX user_events_user_id_idx ON user_events (user_id, occurred_at, id);
CREATE INDEX user_events_actor_kind_idx ON user_events (actor_kind, occurred_at, id);
CREATE INDEX user_events_actor_idx ON user_events (actor_kind, actor_name, occurred_at, id);
CREATE INDEX user_events_type_idx ON user_events (type, occurred_at, id);

COMMENT ON TABLE user_events IS 'What happened to users, and who did it: written with each change, in its transaction. Nothing here tells who a user is or was.';
COMMENT ON COLUMN user_events.id IS 'UUID of version 7.';
COMMENT ON COLUMN user_events.sequence IS 'Counts the events, with gaps. Those of one user are in the order of its changes; all of them are not in the order of commits.';
COMMENT ON COLUMN user_events.transaction_id IS 'The transaction that wrote the event. Events of transactions below pg_snapshot_xmin are all there.';
COMMENT ON COLUMN user_events.user_id IS 'Whom the event is about. No foreign key: events outlive their users.';
COMMENT ON COLUMN user_events.type IS 'What happened.';
COMMENT ON COLUMN user_events.changed_fields IS 'The names of the fields that user_updated changed, separated by spaces; never values. NULL for other types.';
COMMENT ON COLUMN user_events.actor_kind IS 'What kind of caller did it, as its credential says.';
COMMENT ON COLUMN user_events.actor_name IS 'Which one: the name of a service, the name in a client certificate, or the id of a user. NULL for the other kinds.';
COMMENT ON COLUMN user_events.session_id IS 'The session that ended; NULL unless the event is about a single one.';
COMMENT ON COLUMN user_events.correlation_id IS 'What the log lines of the call have in common: x-request-id.';
COMMENT ON COLUMN user_events.occurred_at IS 'When it happened.';
