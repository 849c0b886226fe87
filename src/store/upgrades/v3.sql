-- Version 2 to version 3. An older program does not know that a demand may ask for servers with a shared account: it stops here
-- instead of placing others' tasks without it.

-- Servers that were removed: what ran there still says where.
CREATE TABLE former_server (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL
) STRICT;
DROP VIEW task_view;
CREATE VIEW task_view AS
SELECT t.id, t.name, u.name AS user, t.state, coalesce(s.name, f.name) AS server, t.exit_code,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.submitted_at / 1000.0, 'unixepoch') AS submitted_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.started_at / 1000.0, 'unixepoch') AS started_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.ended_at / 1000.0, 'unixepoch') AS ended_at,
       t.shown AS command, t.size, t.reason, t.tier1, t.tier2
FROM task t JOIN user u ON u.id = t.user_id
LEFT JOIN member m ON m.task_id = t.id AND m.idx = 0 AND t.shape = 'single'
LEFT JOIN server s ON s.id = m.server_id LEFT JOIN former_server f ON f.id = m.server_id;
DROP VIEW member_view;
CREATE VIEW member_view AS
SELECT t.id AS task, m.idx, CASE m.state WHEN 'STARTING' THEN 'PENDING' WHEN 'WAITING' THEN 'PENDING' ELSE m.state END AS state,
       m.number AS attempt, coalesce(s.name, f.name) AS server, m.exit_code, m.signal, m.cpu_ms, m.max_rss,
       strftime('%Y-%m-%dT%H:%M:%fZ', m.started_at / 1000.0, 'unixepoch') AS started_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', m.ended_at / 1000.0, 'unixepoch') AS ended_at
FROM member m JOIN task t ON t.id = m.task_id
LEFT JOIN server s ON s.id = m.server_id LEFT JOIN former_server f ON f.id = m.server_id;

-- A placement changes no sum of `tally`. With `WHERE one = 1` SQLite knows that one row is meant, and makes no list of them first.
DROP TRIGGER task_added;
CREATE TRIGGER task_added AFTER INSERT ON task BEGIN
    UPDATE tally SET pending = pending + new.waiting + new.starting, held = held + new.held WHERE one = 1;
    UPDATE home SET changes = changes + 1 WHERE one = 1;
    UPDATE class SET waiting = waiting + new.waiting, changed = (SELECT changes FROM home) WHERE id = new.class_id AND new.waiting > 0;
END;
DROP TRIGGER task_waits_again;
CREATE TRIGGER task_waits_again AFTER UPDATE OF waiting ON task WHEN new.waiting > old.waiting BEGIN
    UPDATE home SET changes = changes + 1 WHERE one = 1;
    UPDATE class SET changed = (SELECT changes FROM home) WHERE id = new.class_id;
END;
DROP TRIGGER task_removed;
CREATE TRIGGER task_removed AFTER DELETE ON task BEGIN
    UPDATE tally SET
        pending = pending - old.waiting - old.starting, held = held - old.held, running = running - old.running,
        completed = completed - old.completed, failed = failed - old.failed, timeout = timeout - old.timeout,
        out_of_memory = out_of_memory - old.out_of_memory, cancelled = cancelled - old.cancelled,
        skipped = skipped - old.skipped, lost = lost - old.lost
    WHERE one = 1;
    UPDATE class SET waiting = waiting - old.waiting WHERE id = old.class_id AND old.waiting > 0;
END;
DROP TRIGGER task_counted;
CREATE TRIGGER task_counted AFTER UPDATE OF waiting, held, starting, running, completed, failed, timeout, out_of_memory, cancelled, skipped, lost ON task
WHEN (new.waiting + new.starting, new.held, new.running, new.completed, new.failed, new.timeout, new.out_of_memory, new.cancelled, new.skipped, new.lost)
  <> (old.waiting + old.starting, old.held, old.running, old.completed, old.failed, old.timeout, old.out_of_memory, old.cancelled, old.skipped, old.lost)
BEGIN
    UPDATE tally SET
        pending = pending + new.waiting + new.starting - old.waiting - old.starting,
        held = held + new.held - old.held,
        running = running + new.running - old.running,
        completed = completed + new.completed - old.completed,
        failed = failed + new.failed - old.failed,
        timeout = timeout + new.timeout - old.timeout,
        out_of_memory = out_of_memory + new.out_of_memory - old.out_of_memory,
        cancelled = cancelled + new.cancelled - old.cancelled,
        skipped = skipped + new.skipped - old.skipped,
        lost = lost + new.lost - old.lost
    WHERE one = 1;
END;
CREATE TRIGGER task_placed AFTER UPDATE OF waiting ON task WHEN new.waiting <> old.waiting BEGIN
    UPDATE class SET waiting = waiting + new.waiting - old.waiting WHERE id = new.class_id;
END;

-- For an IN of more than two SQLite fills a table at each insert; for an OR it does not. Such a change of a CHECK is what
-- https://sqlite.org/lang_altertable.html#otheralter describes.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(replace(sql,
    'CHECK (shape IN (''single'', ''array'', ''lines''))',
    'CHECK (shape = ''single'' OR shape = ''array'' OR shape = ''lines'')'),
    'CHECK (rest_state IN (''WAITING'', ''HELD'', ''CANCELLED'', ''SKIPPED''))',
    'CHECK (rest_state = ''WAITING'' OR rest_state = ''HELD'' OR rest_state = ''CANCELLED'' OR rest_state = ''SKIPPED'')')
WHERE type = 'table' AND name = 'task';
PRAGMA writable_schema = RESET;
