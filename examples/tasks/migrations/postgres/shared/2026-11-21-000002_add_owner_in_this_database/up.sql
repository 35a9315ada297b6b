-- Additive: the version before goes on working, and its rows stay, without an owner.
ALTER TABLE tasks ADD COLUMN user_id uuid;
ALTER TABLE tasks ADD CONSTRAINT tasks_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;
CREATE INDEX tasks_user_id_idx ON tasks (user_id);
CREATE INDEX tasks_user_id_created_at_idx ON tasks (user_id, created_at);
COMMENT ON COLUMN tasks.user_id IS 'The user of the identity service who owns the task; NULL for a task from before tasks had owners.';
