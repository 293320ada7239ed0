-- What a workspace may have of the fleet; null for no limit.
ALTER TABLE workspaces ADD COLUMN weight INTEGER NOT NULL DEFAULT 1;
ALTER TABLE workspaces ADD COLUMN max_containers INTEGER;
ALTER TABLE workspaces ADD COLUMN max_cpu_millicores INTEGER;
ALTER TABLE workspaces ADD COLUMN max_memory_mib INTEGER;
ALTER TABLE workspaces ADD COLUMN max_gpus INTEGER;
