-- Requests a second that a workspace may make; null for no limit.
ALTER TABLE workspaces ADD COLUMN max_requests_per_second INTEGER;
