-- What a workspace has of stubs, kept by triggers so that no change can forget it.
CREATE TABLE stub_usage (
    workspace BLOB NOT NULL PRIMARY KEY REFERENCES workspaces (id),
    stubs     INTEGER NOT NULL,
    bytes     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO stub_usage (workspace, stubs, bytes)
SELECT workspace, count(*), sum(length(CAST(config AS BLOB))) FROM stubs GROUP BY workspace;

-- A stub's configuration never changes.
CREATE TRIGGER stub_comes AFTER INSERT ON stubs
BEGIN
    INSERT INTO stub_usage (workspace, stubs, bytes)
    VALUES (NEW.workspace, 1, length(CAST(NEW.config AS BLOB)))
    ON CONFLICT (workspace) DO UPDATE SET stubs = stubs + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER stub_goes AFTER DELETE ON stubs
BEGIN
    UPDATE stub_usage SET stubs = stubs - 1, bytes = bytes - length(CAST(OLD.config AS BLOB))
    WHERE workspace = OLD.workspace;
END;

-- Those that nobody has used for longest are found without a look at the others.
CREATE INDEX stubs_by_use ON stubs (workspace, used_at);
