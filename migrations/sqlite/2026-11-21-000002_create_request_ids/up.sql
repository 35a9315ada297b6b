CREATE TABLE request_ids (
    caller TEXT NOT NULL,
    method TEXT NOT NULL,
    request_id BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    user_id BLOB NOT NULL,
    created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    expires_at INTEGER NOT NULL,
    CONSTRAINT request_ids_pkey PRIMARY KEY (caller, method, request_id),
    CONSTRAINT request_ids_fingerprint_check CHECK (length(fingerprint) = 32)
);

CREATE INDEX request_ids_expires_at_idx ON request_ids (expires_at);
