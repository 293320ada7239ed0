ALTER TABLE tokens ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN expires_at INTEGER;

-- A join token's public name. `used` counts the workers that joined with it.
ALTER TABLE join_tokens ADD COLUMN id BLOB;
ALTER TABLE join_tokens ADD COLUMN revoked INTEGER NOT NULL DEFAULT 0;
UPDATE join_tokens SET id = substr(hash, 1, 16);
CREATE UNIQUE INDEX join_tokens_by_id ON join_tokens (id);

-- The hash of a credential that was issued and not used yet; the old one is good until then.
ALTER TABLE workers ADD COLUMN next_credential BLOB;
ALTER TABLE workers ADD COLUMN rotated_at INTEGER;
ALTER TABLE workers ADD COLUMN revoked_at INTEGER;
CREATE UNIQUE INDEX workers_by_next_credential ON workers (next_credential)
    WHERE next_credential IS NOT NULL;

-- Who did what. Rows are never changed, and taken away only when they are too old or too many:
-- everything before `audit_kept_from`.
CREATE TABLE audit (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    workspace  BLOB,
    actor_kind TEXT NOT NULL,
    actor      TEXT NOT NULL,
    peer       TEXT NOT NULL,
    action     TEXT NOT NULL,
    object     TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    detail     TEXT NOT NULL,
    count      INTEGER NOT NULL
) STRICT;

CREATE INDEX audit_by_time ON audit (at);

INSERT INTO meta (key, value) VALUES ('audit_kept_from', 0);

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN
    SELECT raise(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
WHEN OLD.id >= (SELECT value FROM meta WHERE key = 'audit_kept_from')
BEGIN
    SELECT raise(ABORT, 'the audit log is append-only');
END;
