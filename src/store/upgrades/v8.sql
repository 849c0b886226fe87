-- Version 7 to version 8.

-- Servers that refused to start a task: it does not go there again until they are declared anew.
CREATE TABLE refusal (
    task_id   INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    server_id INTEGER NOT NULL REFERENCES server (id) ON DELETE CASCADE,
    at        INTEGER NOT NULL,
    why       TEXT    NOT NULL,
    PRIMARY KEY (task_id, server_id)
) STRICT, WITHOUT ROWID;

ALTER TABLE server ADD COLUMN failing_classes TEXT;
