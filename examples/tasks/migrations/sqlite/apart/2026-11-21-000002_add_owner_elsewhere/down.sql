DROP INDEX tasks_unowned_created_at_idx;
DROP INDEX tasks_user_id_created_at_idx;
DROP INDEX tasks_user_id_idx;
ALTER TABLE tasks DROP COLUMN user_id;
