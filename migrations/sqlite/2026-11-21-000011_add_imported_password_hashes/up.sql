ALTER TABLE users ADD COLUMN imported_password_hash TEXT
    CONSTRAINT users_imported_password_hash_check CHECK (
        imported_password_hash IS NULL
        OR (password_hash IS NULL AND length(imported_password_hash) BETWEEN 1 AND 1024)
    );
