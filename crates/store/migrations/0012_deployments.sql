-- The last version that a name was deployed as, so that no version is ever given twice.
CREATE TABLE deployment_names (
    workspace    BLOB NOT NULL REFERENCES workspaces (id),
    kind         TEXT NOT NULL,
    name         TEXT NOT NULL,
    last_version INTEGER NOT NULL,
    PRIMARY KEY (workspace, kind, name)
) STRICT, WITHOUT ROWID;

-- `containers` is null where the stub's own limits hold.
CREATE TABLE deployments (
    id         BLOB NOT NULL PRIMARY KEY,
    workspace  BLOB NOT NULL REFERENCES workspaces (id),
    kind       TEXT NOT NULL,
    name       TEXT NOT NULL,
    version    INTEGER NOT NULL,
    stub       BLOB NOT NULL REFERENCES stubs (id),
    active     INTEGER NOT NULL,
    containers INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (workspace, kind, name, version)
) STRICT, WITHOUT ROWID;

CREATE INDEX deployments_by_time ON deployments (workspace, created_at);
CREATE INDEX deployments_by_stub ON deployments (stub);

-- `due` is the next time that the schedule names and no task was made for.
CREATE TABLE schedules (
    deployment BLOB NOT NULL PRIMARY KEY REFERENCES deployments (id) ON DELETE CASCADE,
    cron       TEXT NOT NULL,
    due        INTEGER NOT NULL,
    last_task  BLOB
) STRICT, WITHOUT ROWID;

CREATE INDEX schedules_by_due ON schedules (due);
