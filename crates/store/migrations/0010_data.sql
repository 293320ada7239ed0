-- Values that programs share. `bytes` is what a row counts against its workspace: name, key, value.
CREATE TABLE map_entries (
    id         INTEGER PRIMARY KEY,
    workspace  BLOB NOT NULL REFERENCES workspaces (id),
    map        TEXT NOT NULL,
    key        TEXT NOT NULL,
    value      BLOB NOT NULL,
    bytes      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    UNIQUE (workspace, map, key)
) STRICT;

CREATE INDEX map_entries_by_expiry ON map_entries (expires_at);

-- In the order they came; an id is never used again, so that the order holds.
CREATE TABLE queue_items (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace BLOB NOT NULL REFERENCES workspaces (id),
    queue     TEXT NOT NULL,
    value     BLOB NOT NULL,
    bytes     INTEGER NOT NULL
) STRICT;

CREATE INDEX queue_items_by_queue ON queue_items (workspace, queue, id);

CREATE TABLE signals (
    workspace  BLOB NOT NULL REFERENCES workspaces (id),
    name       TEXT NOT NULL,
    bytes      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (workspace, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX signals_by_expiry ON signals (expires_at);

-- What a workspace has of the three together, kept by triggers so that no change can forget it.
CREATE TABLE data_usage (
    workspace BLOB NOT NULL PRIMARY KEY REFERENCES workspaces (id),
    entries   INTEGER NOT NULL,
    bytes     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER map_entry_comes AFTER INSERT ON map_entries
BEGIN
    INSERT INTO data_usage (workspace, entries, bytes) VALUES (NEW.workspace, 1, NEW.bytes)
    ON CONFLICT (workspace) DO UPDATE SET entries = entries + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER map_entry_changes AFTER UPDATE OF bytes ON map_entries
BEGIN
    UPDATE data_usage SET bytes = bytes + NEW.bytes - OLD.bytes WHERE workspace = NEW.workspace;
END;

CREATE TRIGGER map_entry_goes AFTER DELETE ON map_entries
BEGIN
    UPDATE data_usage SET entries = entries - 1, bytes = bytes - OLD.bytes
    WHERE workspace = OLD.workspace;
END;

CREATE TRIGGER queue_item_comes AFTER INSERT ON queue_items
BEGIN
    INSERT INTO data_usage (workspace, entries, bytes) VALUES (NEW.workspace, 1, NEW.bytes)
    ON CONFLICT (workspace) DO UPDATE SET entries = entries + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER queue_item_goes AFTER DELETE ON queue_items
BEGIN
    UPDATE data_usage SET entries = entries - 1, bytes = bytes - OLD.bytes
    WHERE workspace = OLD.workspace;
END;

CREATE TRIGGER signal_comes AFTER INSERT ON signals
BEGIN
    INSERT INTO data_usage (workspace, entries, bytes) VALUES (NEW.workspace, 1, NEW.bytes)
    ON CONFLICT (workspace) DO UPDATE SET entries = entries + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER signal_goes AFTER DELETE ON signals
BEGIN
    UPDATE data_usage SET entries = entries - 1, bytes = bytes - OLD.bytes
    WHERE workspace = OLD.workspace;
END;

-- Files that tasks left; the bytes are in the objects' directory under the same id. They go with
-- their task.
CREATE TABLE outputs (
    id         BLOB NOT NULL PRIMARY KEY,
    workspace  BLOB NOT NULL REFERENCES workspaces (id),
    task       BLOB NOT NULL,
    filename   TEXT NOT NULL,
    size       INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX outputs_by_task ON outputs (task, id);
