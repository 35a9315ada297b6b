ALTER TABLE users ADD COLUMN imported_password_hash text
    CONSTRAINT users_imported_password_hash_check CHECK (
        imported_password_hash IS NULL
        OR (password_hash IS NULL AND char_length(imported_password_hash) BETWEEN 1 AND 1024)
    );

COMMENT ON COLUMN users.imported_password_hash IS 'The hash of the password that another system has computed (a PHC string), until the user signs in with it; NULL otherwise.';
