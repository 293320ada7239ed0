-- What ended tasks and outputs take, kept by triggers so that no change can forget it: a sum over the
-- rows themselves would read through all of them. The bytes are those of results, outputs and
-- failures; what a row takes besides is for the reader to add.
ALTER TABLE tasks ADD COLUMN result_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE tasks SET result_bytes =
    coalesce((SELECT length(bytes) FROM task_results WHERE task = tasks.id), 0)
WHERE ended_at IS NOT NULL;

CREATE TABLE kept_usage (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    tasks    INTEGER NOT NULL,
    bytes    INTEGER NOT NULL
) STRICT;

INSERT INTO kept_usage (only_row, tasks, bytes)
SELECT 1, count(*),
    coalesce(sum(result_bytes + coalesce(length(CAST(failure AS BLOB)), 0)), 0)
    + (SELECT coalesce(sum(size), 0) FROM outputs)
FROM tasks WHERE ended_at IS NOT NULL;

CREATE TRIGGER task_comes_ended AFTER INSERT ON tasks WHEN NEW.ended_at IS NOT NULL
BEGIN
    UPDATE kept_usage SET tasks = tasks + 1,
        bytes = bytes + NEW.result_bytes + coalesce(length(CAST(NEW.failure AS BLOB)), 0);
END;

-- A task that has ended is never changed.
CREATE TRIGGER task_ends AFTER UPDATE OF ended_at ON tasks
WHEN OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL
BEGIN
    UPDATE kept_usage SET tasks = tasks + 1,
        bytes = bytes + NEW.result_bytes + coalesce(length(CAST(NEW.failure AS BLOB)), 0);
END;

CREATE TRIGGER ended_task_goes AFTER DELETE ON tasks WHEN OLD.ended_at IS NOT NULL
BEGIN
    UPDATE kept_usage SET tasks = tasks - 1,
        bytes = bytes - OLD.result_bytes - coalesce(length(CAST(OLD.failure AS BLOB)), 0);
END;

CREATE TRIGGER output_comes AFTER INSERT ON outputs
BEGIN
    UPDATE kept_usage SET bytes = bytes + NEW.size;
END;

CREATE TRIGGER output_goes AFTER DELETE ON outputs
BEGIN
    UPDATE kept_usage SET bytes = bytes - OLD.size;
END;

-- The oldest are found without a look at the others.
CREATE INDEX tasks_by_end ON tasks (ended_at) WHERE ended_at IS NOT NULL;

-- As for stubs and objects.
ALTER TABLE images ADD COLUMN used_at INTEGER NOT NULL DEFAULT 0;
UPDATE images SET used_at = created_at;
