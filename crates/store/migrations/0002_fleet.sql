-- Workers that are to get nothing new, until somebody takes that back.
ALTER TABLE workers ADD COLUMN cordoned INTEGER NOT NULL DEFAULT 0;

-- Until when the calls that run on a worker may go on, while it is being emptied.
ALTER TABLE workers ADD COLUMN drain_until INTEGER;
