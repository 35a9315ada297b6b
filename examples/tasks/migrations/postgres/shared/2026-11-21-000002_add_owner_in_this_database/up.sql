-- Additive: the version before goes on working, and its rows stay, without an owner.
ALTER TABLE tasks ADD COLUMN user_id uuid;
ALTER TABLE tasks ADD CONSTRAINT tasks_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;
CREATE INDEX tasks_user_id_idx ON tasks (user_id);
CREATE INDEX tasks_user_id_created_at_idx ON tasks (user_id, created_at);
-- The tasks of nobody are listed, too. For them PostgreSQL does not see that the index above is in the right order.
CREATE INDEX tasks_unowned_created_at_idx ON tasks (created_at) WHERE user_id IS NULL;
COMMENT ON COLUMN tasks.user_id IS 'The user of the identity service who owns the task; NULL for a task from before tasks had owners.';
