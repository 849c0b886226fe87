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
    machine_id INTEGER,
    PRIMARY KEY (host_id, uuid, idx, number)
) STRICT, WITHOUT ROWID;
-- A refusal for good names who is refused.
ALTER TABLE tombstone RENAME TO tombstone_v3;
CREATE TABLE tombstone (
    uuid    BLOB    NOT NULL,
    user_id INTEGER NOT NULL,                  -- who is refused; 0: everybody
    round   INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (uuid, user_id)
) STRICT, WITHOUT ROWID;
INSERT INTO tombstone (uuid, user_id, round, at) SELECT uuid, 0, round, at FROM tombstone_v3;
DROP TABLE tombstone_v3;
CREATE INDEX tombstone_user ON tombstone (user_id);

-- What the tasks of users from elsewhere were submitted with counts for user_spool.
ALTER TABLE task ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
UPDATE task SET kept = length(argv) + length(env) + coalesce(length(stdin), 0)
                     + coalesce((SELECT sum(length(line)) FROM entry WHERE task_id = task.id), 0)
WHERE user_id IS NOT (SELECT id FROM user WHERE name = coalesce((SELECT value FROM setting WHERE name = 'owner'), (SELECT name FROM user ORDER BY id LIMIT 1)))
  -- Those of first-tier members are held by other homes, and count there.
  AND class_id IN (SELECT c.id FROM class c JOIN distributor d ON d.id = c.distributor_id WHERE d.tier = 2);

ALTER TABLE member ADD COLUMN cut TEXT CHECK (cut IS NULL OR json_valid(cut));
-- The ssh command that a server or an endpoint was named with; without one the home's.
ALTER TABLE server ADD COLUMN ssh_command TEXT;
CREATE TABLE endpoint_command (
    endpoint    TEXT PRIMARY KEY,
    ssh_command TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A name may come to lead to another machine: attempts are bound to the one that they were sent to.
ALTER TABLE server ADD COLUMN machine_id INTEGER;
ALTER TABLE server ADD COLUMN machine_since INTEGER;
ALTER TABLE member ADD COLUMN machine_id INTEGER;
CREATE TABLE machine (
    id       INTEGER PRIMARY KEY,
    name     TEXT    NOT NULL,
    hostname TEXT    NOT NULL,
    UNIQUE (name, hostname)
) STRICT;
CREATE TABLE heard (
    server_id  INTEGER NOT NULL REFERENCES server (id) ON DELETE CASCADE,
    machine_id INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (server_id, machine_id)
) STRICT, WITHOUT ROWID;
ALTER TABLE attempt ADD COLUMN machine_id INTEGER;
-- A host is known by its boot too: whoever claims another's name can't know that. The servers let go of the old table meanwhile.
CREATE TABLE host_v3 AS SELECT * FROM host;
CREATE TABLE server_host_v3 AS SELECT id, host_id FROM server;
UPDATE server SET host_id = NULL;
DROP TABLE host;
CREATE TABLE host (
    id            INTEGER PRIMARY KEY,
    machine       TEXT    NOT NULL,
    boot_id       TEXT    NOT NULL,
    hostname      TEXT    NOT NULL,
    os            TEXT    NOT NULL,
    arch          TEXT    NOT NULL,
    kernel        TEXT    NOT NULL,
    cpus          INTEGER NOT NULL,
    power         REAL    NOT NULL,
    load1         REAL    NOT NULL,
    idle_cpus     REAL    NOT NULL,
    mem_total     INTEGER NOT NULL,
    mem_available INTEGER NOT NULL,
    disk_free     INTEGER NOT NULL,
    gpus          TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(gpus)),
    read_at       INTEGER NOT NULL,
    taken_cpus    INTEGER NOT NULL DEFAULT 0,
    taken_mem     INTEGER NOT NULL DEFAULT 0,
    started_since INTEGER NOT NULL DEFAULT 0,
    mem_since     INTEGER NOT NULL DEFAULT 0,
    UNIQUE (machine, boot_id)
) STRICT;
INSERT INTO host (id, machine, boot_id, hostname, os, arch, kernel, cpus, power, load1, idle_cpus, mem_total, mem_available, disk_free, gpus,
                  read_at, taken_cpus, taken_mem, started_since, mem_since)
SELECT id, machine, boot_id, hostname, os, arch, kernel, cpus, power, load1, idle_cpus, mem_total, mem_available, disk_free, gpus,
       read_at, taken_cpus, taken_mem, started_since, mem_since FROM host_v3;
UPDATE server SET host_id = (SELECT host_id FROM server_host_v3 v WHERE v.id = server.id);
DROP TABLE host_v3;
DROP TABLE server_host_v3;
-- Where the file lies: a copy is told from its home.
ALTER TABLE home ADD COLUMN place TEXT;
ALTER TABLE home ADD COLUMN place_inode INTEGER;
ALTER TABLE home ADD COLUMN place_born INTEGER;
ALTER TABLE home ADD COLUMN copied_from TEXT;

-- What is old is removed only while the wall clock goes with the time since boot.
ALTER TABLE home ADD COLUMN clock_wall INTEGER;
ALTER TABLE home ADD COLUMN clock_since_boot INTEGER;
ALTER TABLE home ADD COLUMN clock_boot TEXT;
ALTER TABLE home ADD COLUMN clock_doubt INTEGER;
-- What of a task's files could not be unpacked is kept until it has come.
ALTER TABLE fetched ADD COLUMN not_unpacked TEXT;
ALTER TABLE attempt ADD COLUMN cut TEXT CHECK (cut IS NULL OR json_valid(cut));

-- How much of an output is kept.
ALTER TABLE task ADD COLUMN max_output TEXT;
-- What `remove` and `gc` need to know of results and of tasks of other homes, and what stays of removed tasks.
ALTER TABLE task ADD COLUMN foreign_end INTEGER NOT NULL DEFAULT 0;
-- Where a task came from was not kept. Of this home are surely those that its owner submitted on the host where it was founded,
-- through a first tier of its own. The client of any other may be in another home, and is taken not to have heard how it ended:
-- `remove` then wants --discard.
UPDATE task SET foreign_end = 1
WHERE class_id IN (SELECT c.id FROM class c JOIN distributor d ON d.id = c.distributor_id WHERE d.tier = 2)
  AND id NOT IN (SELECT task_id FROM away)
  AND (user_id IS NOT (SELECT id FROM user WHERE name = coalesce((SELECT value FROM setting WHERE name = 'owner'), (SELECT name FROM user ORDER BY id LIMIT 1)))
       OR tier1 NOT IN (SELECT name FROM distributor WHERE tier = 1 AND endpoint = 'local')
       OR (SELECT client_id FROM class WHERE id = task.class_id) IS NOT (SELECT min(id) FROM client));
ALTER TABLE fetched ADD COLUMN noticed_at INTEGER;
ALTER TABLE fetched ADD COLUMN dropped_at INTEGER;
CREATE INDEX fetched_noticed ON fetched (task_id) WHERE noticed_at IS NOT NULL AND unpacked_at IS NULL AND dropped_at IS NULL;
CREATE TABLE removed_usage (
    user        TEXT    NOT NULL,
    day         INTEGER NOT NULL,
    tasks       INTEGER NOT NULL,
    members     INTEGER NOT NULL,
    wall_ms     INTEGER NOT NULL,
    cpu_ms      INTEGER NOT NULL,
    reserved_ms INTEGER NOT NULL,
    PRIMARY KEY (user, day)
) STRICT, WITHOUT ROWID;
CREATE VIEW removed_view AS
SELECT user, date(day * 86400, 'unixepoch') AS day, tasks, members, wall_ms, cpu_ms, reserved_ms
FROM removed_usage;
DROP TRIGGER task_counted;
CREATE TRIGGER task_counted AFTER UPDATE OF waiting, held, starting, running, completed, failed, timeout, out_of_memory, cancelled ON task
WHEN (new.waiting + new.starting, new.held, new.running, new.completed, new.failed, new.timeout, new.out_of_memory, new.cancelled)
  <> (old.waiting + old.starting, old.held, old.running, old.completed, old.failed, old.timeout, old.out_of_memory, old.cancelled)
BEGIN
    UPDATE tally SET
        pending = pending + new.waiting + new.starting - old.waiting - old.starting,
        held = held + new.held - old.held,
        running = running + new.running - old.running,
        completed = completed + new.completed - old.completed,
        failed = failed + new.failed - old.failed,
        timeout = timeout + new.timeout - old.timeout,
        out_of_memory = out_of_memory + new.out_of_memory - old.out_of_memory,
        cancelled = cancelled + new.cancelled - old.cancelled
    WHERE one = 1;
END;
CREATE TRIGGER task_counted_seldom AFTER UPDATE OF skipped, lost ON task WHEN (new.skipped, new.lost) <> (old.skipped, old.lost) BEGIN
    UPDATE tally SET skipped = skipped + new.skipped - old.skipped, lost = lost + new.lost - old.lost WHERE one = 1;
END;
