-- Additive: the version before goes on working, and its rows stay, without an owner.
ALTER TABLE tasks ADD COLUMN user_id BLOB;
CREATE INDEX tasks_user_id_idx ON tasks (user_id);
CREATE INDEX tasks_user_id_created_at_idx ON tasks (user_id, created_at);
-- The tasks of nobody are listed, too.
CREATE INDEX tasks_unowned_created_at_idx ON tasks (created_at) WHERE user_id IS NULL;
