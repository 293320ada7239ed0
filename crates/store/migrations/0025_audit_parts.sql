-- Lines are kept part by part, so that nobody's flood takes away another's: each workspace's, what the
-- gateway did for none, and what strangers tried.
ALTER TABLE audit ADD COLUMN part BLOB
    GENERATED ALWAYS AS (coalesce(workspace, CAST(actor_kind AS BLOB))) VIRTUAL;

CREATE INDEX audit_by_part ON audit (part);

-- From which line on those of a part are kept; all of a part that has no row.
CREATE TABLE audit_kept (
    part      BLOB NOT NULL PRIMARY KEY,
    kept_from INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

DROP TRIGGER audit_is_kept;
DELETE FROM meta WHERE key = 'audit_kept_from';

CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
WHEN OLD.id >= coalesce((SELECT kept_from FROM audit_kept WHERE part = OLD.part), 0)
BEGIN
    SELECT raise(ABORT, 'the audit log is append-only');
END;
