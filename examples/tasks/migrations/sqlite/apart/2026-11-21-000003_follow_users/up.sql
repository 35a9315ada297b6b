-- How far the deletions of users have been followed: one row.
CREATE TABLE user_watch (
    id INTEGER NOT NULL DEFAULT 1,
    resume_token TEXT NOT NULL,
    CONSTRAINT user_watch_pkey PRIMARY KEY (id),
    CONSTRAINT user_watch_id_check CHECK (id = 1)
);

-- Users who were deleted while access tokens of theirs could still be used.
CREATE TABLE departed_users (
    user_id BLOB NOT NULL,
    noted_at INTEGER NOT NULL,
    CONSTRAINT departed_users_pkey PRIMARY KEY (user_id)
);
