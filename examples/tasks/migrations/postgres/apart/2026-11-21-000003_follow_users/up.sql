CREATE TABLE user_watch (
    id integer NOT NULL DEFAULT 1,
    resume_token text NOT NULL,
    CONSTRAINT user_watch_pkey PRIMARY KEY (id),
    CONSTRAINT user_watch_id_check CHECK (id = 1)
);
COMMENT ON TABLE user_watch IS 'How far the deletions of users have been followed: one row.';
COMMENT ON COLUMN user_watch.id IS 'Always 1.';
COMMENT ON COLUMN user_watch.resume_token IS 'Where WatchUsers goes on.';

CREATE TABLE departed_users (
    user_id uuid NOT NULL,
    noted_at timestamptz NOT NULL,
    CONSTRAINT departed_users_pkey PRIMARY KEY (user_id)
);
COMMENT ON TABLE departed_users IS 'Users who were deleted while access tokens of theirs could still be used.';
COMMENT ON COLUMN departed_users.user_id IS 'The id the user had.';
COMMENT ON COLUMN departed_users.noted_at IS 'When this service heard of it.';
