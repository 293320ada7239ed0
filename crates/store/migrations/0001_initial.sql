-- Ids are 16 bytes, times are Unix microseconds, structured values are JSON.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How often the gateway has started.
INSERT INTO meta (key, value) VALUES ('epoch', 0);

-- The fingerprint of the key file this database belongs to.
CREATE TABLE key_file (
    fingerprint BLOB NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE workspaces (
    id         BLOB NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id         BLOB NOT NULL PRIMARY KEY,
    workspace  BLOB NOT NULL REFERENCES workspaces (id),
    kind       TEXT NOT NULL,
    hash       BLOB NOT NULL UNIQUE,
    active     INTEGER NOT NULL,
    reusable   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_by_workspace ON tokens (workspace, created_at);

CREATE TABLE join_tokens (
    hash       BLOB NOT NULL PRIMARY KEY,
    workspace  BLOB NOT NULL REFERENCES workspaces (id),
    pool       TEXT NOT NULL,
    single_use INTEGER NOT NULL,
    used       INTEGER NOT NULL DEFAULT 0,
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE workers (
    id         BLOB NOT NULL PRIMARY KEY,
    workspace  BLOB NOT NULL REFERENCES workspaces (id),
    pool       TEXT NOT NULL,
    hostname   TEXT NOT NULL,
    credential BLOB NOT NULL UNIQUE,
    joined_at  INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX workers_by_workspace ON workers (workspace, joined_at);

CREATE TABLE objects (
    id             BLOB NOT NULL PRIMARY KEY,
    workspace      BLOB NOT NULL REFERENCES workspaces (id),
    hash           TEXT NOT NULL,
    announced_size INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    UNIQUE (workspace, hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE images (
    id         TEXT NOT NULL PRIMARY KEY,
    spec       TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE image_locks (
    image      TEXT NOT NULL REFERENCES images (id),
    platform   TEXT NOT NULL,
    lock       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (image, platform)
) STRICT, WITHOUT ROWID;

-- `config_hash` is null for a stub that was asked to be a new one: it is never found by its configuration.
CREATE TABLE stubs (
    id          BLOB NOT NULL PRIMARY KEY,
    workspace   BLOB NOT NULL REFERENCES workspaces (id),
    config_hash BLOB,
    name        TEXT NOT NULL,
    config      TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    UNIQUE (workspace, config_hash)
) STRICT, WITHOUT ROWID;

CREATE INDEX stubs_by_name ON stubs (workspace, name);

CREATE TABLE tasks (
    id            BLOB NOT NULL PRIMARY KEY,
    workspace     BLOB NOT NULL REFERENCES workspaces (id),
    stub          BLOB NOT NULL REFERENCES stubs (id),
    request_id    TEXT,
    headless      INTEGER NOT NULL,
    status        TEXT NOT NULL,
    attempts_used INTEGER NOT NULL DEFAULT 0,
    attempt       INTEGER,
    worker        BLOB,
    container     INTEGER,
    failure       TEXT,
    phases        TEXT NOT NULL DEFAULT '[]',
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    started_at    INTEGER,
    ended_at      INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX tasks_by_time ON tasks (workspace, created_at);
CREATE INDEX tasks_by_status ON tasks (status, workspace, created_at);
CREATE INDEX tasks_by_stub ON tasks (stub, created_at);
CREATE INDEX tasks_by_container ON tasks (container) WHERE container IS NOT NULL;
CREATE UNIQUE INDEX tasks_by_request ON tasks (workspace, request_id) WHERE request_id IS NOT NULL;

CREATE TABLE task_arguments (
    task  BLOB NOT NULL UNIQUE REFERENCES tasks (id),
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE task_results (
    task  BLOB NOT NULL UNIQUE REFERENCES tasks (id),
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE secrets (
    id         BLOB NOT NULL PRIMARY KEY,
    workspace  BLOB NOT NULL REFERENCES workspaces (id),
    name       TEXT NOT NULL,
    nonce      BLOB NOT NULL,
    sealed     BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (workspace, name)
) STRICT, WITHOUT ROWID;
