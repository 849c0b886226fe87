-- Version 6 to version 7.

-- Ends whose confirmation has not reached their owner.
ALTER TABLE away ADD COLUMN unconfirmed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX away_unconfirmed ON away (task_id) WHERE unconfirmed = 1;
