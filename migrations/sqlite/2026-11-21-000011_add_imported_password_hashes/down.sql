ALTER TABLE users DROP COLUMN imported_password_hash;
