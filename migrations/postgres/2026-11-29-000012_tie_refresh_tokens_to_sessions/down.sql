CREATE INDEX refresh_tokens_user_id_idx ON refresh_tokens (user_id);
ALTER TABLE refresh_tokens
    ADD CONSTRAINT refresh_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    ADD CONSTRAINT refresh_tokens_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE,
    DROP CONSTRAINT refresh_tokens_session_fkey;

ALTER TABLE sessions DROP CONSTRAINT sessions_id_user_id_key;
