-- What ended tasks and outputs take, workspace by workspace, so that whoever makes others' go by what
-- they leave can be found at once.
DROP TRIGGER task_comes_ended;
DROP TRIGGER task_ends;
DROP TRIGGER ended_task_goes;
DROP TRIGGER output_comes;
DROP TRIGGER output_goes;
DROP TABLE kept_usage;

CREATE TABLE kept_usage (
    workspace BLOB NOT NULL PRIMARY KEY REFERENCES workspaces (id),
    tasks     INTEGER NOT NULL,
    bytes     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO kept_usage (workspace, tasks, bytes)
SELECT workspace, sum(tasks), sum(bytes) FROM (
    SELECT workspace, 1 AS tasks,
        result_bytes + coalesce(length(CAST(failure AS BLOB)), 0) AS bytes
    FROM tasks WHERE ended_at IS NOT NULL
    UNION ALL
    SELECT workspace, 0, size FROM outputs
) GROUP BY workspace;

CREATE TRIGGER task_comes_ended AFTER INSERT ON tasks WHEN NEW.ended_at IS NOT NULL
BEGIN
    INSERT INTO kept_usage (workspace, tasks, bytes) VALUES (NEW.workspace, 1,
        NEW.result_bytes + coalesce(length(CAST(NEW.failure AS BLOB)), 0))
    ON CONFLICT (workspace) DO UPDATE SET tasks = tasks + 1, bytes = bytes + excluded.bytes;
END;

-- A task that has ended is never changed.
CREATE TRIGGER task_ends AFTER UPDATE OF ended_at ON tasks
WHEN OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL
BEGIN
    INSERT INTO kept_usage (workspace, tasks, bytes) VALUES (NEW.workspace, 1,
        NEW.result_bytes + coalesce(length(CAST(NEW.failure AS BLOB)), 0))
    ON CONFLICT (workspace) DO UPDATE SET tasks = tasks + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER ended_task_goes AFTER DELETE ON tasks WHEN OLD.ended_at IS NOT NULL
BEGIN
    UPDATE kept_usage SET tasks = tasks - 1,
        bytes = bytes - OLD.result_bytes - coalesce(length(CAST(OLD.failure AS BLOB)), 0)
    WHERE workspace = OLD.workspace;
END;

CREATE TRIGGER output_comes AFTER INSERT ON outputs
BEGIN
    INSERT INTO kept_usage (workspace, tasks, bytes) VALUES (NEW.workspace, 0, NEW.size)
    ON CONFLICT (workspace) DO UPDATE SET bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER output_goes AFTER DELETE ON outputs
BEGIN
    UPDATE kept_usage SET bytes = bytes - OLD.size WHERE workspace = OLD.workspace;
END;

-- A workspace's oldest are found without a look at the others.
DROP INDEX tasks_by_end;
CREATE INDEX tasks_by_end ON tasks (workspace, ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX served_containers_by_workspace ON served_containers (workspace, ended_at);
