-- Additive: the version before goes on working, and its rows stay, without an owner. A column with a foreign key can be
-- added to a table of SQLite as long as its default is NULL.
ALTER TABLE tasks ADD COLUMN user_id BLOB
    CONSTRAINT tasks_user_id_fkey REFERENCES users (id) ON DELETE CASCADE;
CREATE INDEX tasks_user_id_idx ON tasks (user_id);
CREATE INDEX tasks_user_id_created_at_idx ON tasks (user_id, created_at);
-- The tasks of nobody are listed, too.
CREATE INDEX tasks_unowned_created_at_idx ON tasks (created_at) WHERE user_id IS NULL;
