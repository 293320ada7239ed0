-- When somebody last asked for it, to within an hour: what nobody asks for is removed in the end.
ALTER TABLE objects ADD COLUMN used_at INTEGER NOT NULL DEFAULT 0;
UPDATE objects SET used_at = created_at;

ALTER TABLE stubs ADD COLUMN used_at INTEGER NOT NULL DEFAULT 0;
UPDATE stubs SET used_at = created_at;
