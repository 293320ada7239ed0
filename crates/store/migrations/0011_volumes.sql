-- Shared directories. One that is deleted has no name any more, and goes when its files are gone.
CREATE TABLE volumes (
    id         BLOB NOT NULL PRIMARY KEY,
    workspace  BLOB NOT NULL REFERENCES workspaces (id),
    name       TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (workspace, name)
) STRICT, WITHOUT ROWID;

-- Files on their way into a volume, in parts of `chunk` bytes.
CREATE TABLE volume_uploads (
    id         BLOB NOT NULL PRIMARY KEY,
    workspace  BLOB NOT NULL REFERENCES workspaces (id),
    volume     BLOB NOT NULL,
    path       TEXT NOT NULL,
    size       INTEGER NOT NULL,
    chunk      INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX volume_uploads_by_workspace ON volume_uploads (workspace, created_at);

-- The parts that are on disk.
CREATE TABLE volume_upload_parts (
    upload BLOB NOT NULL REFERENCES volume_uploads (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    etag   TEXT NOT NULL,
    PRIMARY KEY (upload, number)
) STRICT, WITHOUT ROWID;
