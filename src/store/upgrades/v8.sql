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

CREATE INDEX task_name ON task (name, id) WHERE name IS NOT NULL;

DROP VIEW member_view;
CREATE VIEW member_view AS
SELECT t.id AS task, m.idx, CASE m.state WHEN 'STARTING' THEN 'PENDING' WHEN 'WAITING' THEN 'PENDING' ELSE m.state END AS state,
       m.number AS attempt, coalesce(s.name, f.name) AS server, m.exit_code, m.signal, m.cpu_ms, m.max_rss,
       strftime('%Y-%m-%dT%H:%M:%fZ', m.started_at / 1000.0, 'unixepoch') AS started_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', m.ended_at / 1000.0, 'unixepoch') AS ended_at, CAST(e.line AS TEXT) AS line
FROM member m JOIN task t ON t.id = m.task_id
LEFT JOIN server s ON s.id = m.server_id LEFT JOIN former_server f ON f.id = m.server_id
LEFT JOIN entry e ON e.task_id = m.task_id AND e.idx = m.idx;
