-- Version 3 to version 4.

-- Where outputs of earlier attempts lie, and what servers have still to be told to drop.
ALTER TABLE attempt ADD COLUMN home_out INTEGER NOT NULL DEFAULT 0;
CREATE INDEX attempt_there ON attempt (task_id) WHERE home_out = 2;
CREATE INDEX member_there ON member (task_id) WHERE home_out = 2;
CREATE TABLE discard (
    host_id INTEGER NOT NULL REFERENCES server (id) ON DELETE CASCADE,
    uuid    BLOB    NOT NULL,
    idx     INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    PRIMARY KEY (host_id, uuid, idx, number)
) STRICT, WITHOUT ROWID;
