-- Ids are 16 bytes, times are microseconds since 1970-01-01 in UTC, dates are text (ISO 8601).
CREATE TABLE users (
    id BLOB NOT NULL,
    email TEXT,
    email_normalized TEXT,
    email_verified_at INTEGER,
    username TEXT,
    username_normalized TEXT,
    full_name TEXT,
    birth_date TEXT,
    password_hash TEXT,
    password_changed_at INTEGER,
    auth_provider TEXT,
    is_active BOOLEAN NOT NULL DEFAULT TRUE,
    is_blocked BOOLEAN NOT NULL DEFAULT FALSE,
    block_reason TEXT,
    tokens_valid_after INTEGER,
    version INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    updated_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_id_check CHECK (typeof(id) = 'blob' AND length(id) = 16),
    CONSTRAINT users_identifier_check CHECK (email IS NOT NULL OR username IS NOT NULL),
    CONSTRAINT users_email_normalized_check CHECK ((email IS NULL) = (email_normalized IS NULL)),
    CONSTRAINT users_email_check CHECK (
        email IS NULL OR (
            typeof(email) = 'text'
            AND octet_length(email) <= 254
            AND email GLOB '?*@?*'
            AND email NOT GLOB '*@*@*'
            AND email NOT GLOB ('*[' || char(1) || '-' || char(32) || char(127) || ']*')
            AND instr(email, char(0)) = 0
            AND email_normalized = lower(email_normalized)
        )
    ),
    CONSTRAINT users_email_verified_check CHECK (email_verified_at IS NULL OR email IS NOT NULL),
    CONSTRAINT users_username_normalized_check CHECK ((username IS NULL) = (username_normalized IS NULL)),
    CONSTRAINT users_username_check CHECK (
        username IS NULL OR (
            typeof(username) = 'text'
            AND length(username) <= 255
            AND username GLOB '\?*\?*'
            AND username NOT GLOB '\\*'
            AND username NOT GLOB '*\*\*\*'
            AND username NOT GLOB ('*[' || char(1) || '-' || char(32) || char(127) || ']*')
            AND instr(username, char(0)) = 0
            AND username_normalized = lower(username_normalized)
        )
    ),
    CONSTRAINT users_full_name_check CHECK (
        full_name IS NULL OR (length(full_name) BETWEEN 1 AND 255 AND instr(full_name, char(0)) = 0)
    ),
    CONSTRAINT users_birth_date_check CHECK (
        birth_date IS NULL OR (birth_date GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'
            AND birth_date >= '0001-01-01' AND date(birth_date) = birth_date)
    ),
    CONSTRAINT users_password_hash_check CHECK (length(password_hash) = 60),
    CONSTRAINT users_auth_provider_check CHECK (
        auth_provider IS NULL OR (
            auth_provider IN ('password', 'google', 'apple', 'oidc')
            AND (auth_provider <> 'password' OR password_hash IS NOT NULL)
        )
    ),
    CONSTRAINT users_is_active_check CHECK (is_active IN (0, 1)),
    CONSTRAINT users_is_blocked_check CHECK (is_blocked IN (0, 1)),
    CONSTRAINT users_block_reason_check CHECK (
        block_reason IS NULL OR (is_blocked AND length(block_reason) BETWEEN 1 AND 500)
    ),
    CONSTRAINT users_version_check CHECK (version > 0)
);

CREATE UNIQUE INDEX users_email_normalized_key ON users (email_normalized);
CREATE UNIQUE INDEX users_username_normalized_key ON users (username_normalized);
CREATE INDEX users_created_at_idx ON users (created_at, id);
CREATE INDEX users_blocked_idx ON users (created_at, id) WHERE is_blocked;

-- A check may not ask for the time, a trigger may.
CREATE TRIGGER users_birth_date_insert BEFORE INSERT ON users
    WHEN NEW.birth_date > date('now')
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: users_birth_date_check');
END;

CREATE TRIGGER users_birth_date_update BEFORE UPDATE OF birth_date ON users
    WHEN NEW.birth_date > date('now')
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: users_birth_date_check');
END;

-- A statement that sets version and updated_at itself keeps its values if they move forward; any other,
-- such as one typed by hand, has them moved for it.
CREATE TRIGGER users_touch AFTER UPDATE ON users
    WHEN NEW.version <= OLD.version OR NEW.updated_at <= OLD.updated_at
BEGIN
    UPDATE users SET
        version = max(NEW.version, OLD.version + 1),
        updated_at = CASE
            WHEN NEW.updated_at > OLD.updated_at THEN NEW.updated_at
            ELSE max(CAST(unixepoch('subsec') * 1000000 AS INTEGER), OLD.updated_at + 1)
        END
    WHERE id = NEW.id;
END;
