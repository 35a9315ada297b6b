CREATE TABLE request_ids (
    caller text NOT NULL,
    method text NOT NULL,
    request_id uuid NOT NULL,
    fingerprint bytea NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT request_ids_pkey PRIMARY KEY (caller, method, request_id),
    CONSTRAINT request_ids_fingerprint_check CHECK (octet_length(fingerprint) = 32)
);

CREATE INDEX request_ids_expires_at_idx ON request_ids (expires_at);

COMMENT ON TABLE request_ids IS 'Changes that succeeded, by the id their caller gave them, so that a retry changes nothing.';
COMMENT ON COLUMN request_ids.caller IS 'Who called.';
COMMENT ON COLUMN request_ids.method IS 'The name of the method that was called.';
COMMENT ON COLUMN request_ids.request_id IS 'The id the caller gave the change.';
COMMENT ON COLUMN request_ids.fingerprint IS 'HMAC-SHA-256 of the request under a key derived from the master key: it tells requests apart and tells nothing about them.';
COMMENT ON COLUMN request_ids.user_id IS 'The user the change was about. Not a foreign key: the record of a deletion outlives the user.';
COMMENT ON COLUMN request_ids.created_at IS 'When the change was made.';
COMMENT ON COLUMN request_ids.expires_at IS 'When the record stops counting and may be purged.';
