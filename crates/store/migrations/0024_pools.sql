-- Pools that somebody made. Workers may be in others: a join token names any.
CREATE TABLE pools (
    workspace  BLOB NOT NULL REFERENCES workspaces (id),
    name       TEXT NOT NULL,
    gpus       TEXT NOT NULL,
    nodes      INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (workspace, name)
) STRICT, WITHOUT ROWID;

-- The public name of the join token that was for this worker alone; null where others could use it too.
ALTER TABLE workers ADD COLUMN join_token BLOB;
