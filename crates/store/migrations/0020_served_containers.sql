-- What containers that take requests wrote: `log` names their output as a task names its own. A
-- container that was idle for a while has one row for each time it served.
CREATE TABLE served_containers (
    log        BLOB NOT NULL PRIMARY KEY,
    workspace  BLOB NOT NULL REFERENCES workspaces (id),
    stub       BLOB NOT NULL REFERENCES stubs (id),
    container  INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX served_containers_by_container ON served_containers (container);
CREATE INDEX served_containers_by_stub ON served_containers (stub, created_at);
CREATE INDEX served_containers_by_end ON served_containers (ended_at);
