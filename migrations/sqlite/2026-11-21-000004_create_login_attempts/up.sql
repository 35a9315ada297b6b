CREATE TABLE login_attempts (
    id BLOB NOT NULL,
    user_id BLOB,
    identifier TEXT,
    ip_address TEXT,
    user_agent TEXT,
    method TEXT NOT NULL,
    success BOOLEAN NOT NULL,
    failure_reason TEXT,
    attempted_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    CONSTRAINT login_attempts_pkey PRIMARY KEY (id),
    CONSTRAINT login_attempts_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE SET NULL,
    CONSTRAINT login_attempts_id_check CHECK (typeof(id) = 'blob' AND length(id) = 16),
    CONSTRAINT login_attempts_identifier_check CHECK (length(identifier) BETWEEN 1 AND 255),
    CONSTRAINT login_attempts_user_agent_check CHECK (length(user_agent) <= 512),
    CONSTRAINT login_attempts_method_check CHECK (method IN ('password', 'id_token', 'refresh_token')),
    CONSTRAINT login_attempts_success_check CHECK (success IN (0, 1)),
    CONSTRAINT login_attempts_failure_reason_check CHECK (success = (failure_reason IS NULL))
);

CREATE INDEX login_attempts_user_id_idx ON login_attempts (user_id, attempted_at, id);
CREATE INDEX login_attempts_identifier_idx ON login_attempts (identifier, attempted_at, id);
CREATE INDEX login_attempts_attempted_at_idx ON login_attempts (attempted_at, id);

CREATE TABLE lockouts (
    subject BLOB NOT NULL,
    network BLOB NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    counted_from INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    retry_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    last_success_at INTEGER,
    updated_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    CONSTRAINT lockouts_pkey PRIMARY KEY (subject, network),
    CONSTRAINT lockouts_subject_check CHECK (typeof(subject) = 'blob' AND length(subject) = 32),
    CONSTRAINT lockouts_network_check CHECK (typeof(network) = 'blob' AND length(network) IN (0, 32)),
    CONSTRAINT lockouts_failures_check CHECK (failures >= 0)
);

CREATE INDEX lockouts_updated_at_idx ON lockouts (updated_at);
