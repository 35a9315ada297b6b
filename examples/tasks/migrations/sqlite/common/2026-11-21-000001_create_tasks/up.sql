-- Ids are 16 bytes, times are microseconds since 1970-01-01 in UTC.
CREATE TABLE tasks (
    id BLOB NOT NULL DEFAULT (randomblob(16)),
    title TEXT NOT NULL,
    done BOOLEAN NOT NULL DEFAULT FALSE,
    created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    updated_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    CONSTRAINT tasks_pkey PRIMARY KEY (id),
    CONSTRAINT tasks_id_check CHECK (typeof(id) = 'blob' AND length(id) = 16),
    CONSTRAINT tasks_title_check CHECK (typeof(title) = 'text' AND length(title) BETWEEN 1 AND 200)
);
