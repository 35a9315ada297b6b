CREATE TABLE tasks (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    title text NOT NULL,
    done boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tasks_pkey PRIMARY KEY (id),
    CONSTRAINT tasks_title_check CHECK (char_length(title) BETWEEN 1 AND 200)
);
COMMENT ON TABLE tasks IS 'What people have to do.';
COMMENT ON COLUMN tasks.id IS 'A UUID, of version 7 where the service chose it.';
COMMENT ON COLUMN tasks.title IS 'What is to be done.';
COMMENT ON COLUMN tasks.done IS 'Whether it has been done.';
COMMENT ON COLUMN tasks.created_at IS 'When the task was created.';
COMMENT ON COLUMN tasks.updated_at IS 'When the task was last changed.';
