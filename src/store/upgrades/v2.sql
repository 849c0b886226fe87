-- Version 1 to version 2: servers over SSH, files that travel with tasks, distributors in other homes.

-- Servers over SSH.
ALTER TABLE server ADD COLUMN ssh_options TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(ssh_options));
ALTER TABLE server ADD COLUMN remote_dir TEXT;
ALTER TABLE server ADD COLUMN prologue TEXT;
ALTER TABLE task ADD COLUMN client_home BLOB;
ALTER TABLE task ADD COLUMN lost_after INTEGER;
-- Cloned machines share their machine-id: a host is told by that and its name.
UPDATE host SET machine = machine || '-' || hostname WHERE machine NOT LIKE 'host-%';

-- ---- files that travel with tasks

-- Archives that were sent with tasks: spool/sent/DIGEST, each content once.
CREATE TABLE bundle (
    digest   TEXT PRIMARY KEY,                 -- BLAKE3 of the archive
    size     INTEGER NOT NULL,                 -- bytes of the archive
    files    INTEGER NOT NULL,
    taken_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What is sent with a task, and what is brought back at its end.
CREATE TABLE task_files (
    task_id INTEGER PRIMARY KEY REFERENCES task (id) ON DELETE CASCADE,
    bundle  TEXT,                              -- its digest; NULL: nothing is sent, the task runs in its cwd
    size    INTEGER NOT NULL DEFAULT 0,
    files   INTEGER NOT NULL DEFAULT 0,
    below   BLOB    NOT NULL DEFAULT x'',      -- the task's directory below the root of what is sent
    fetch   BLOB,                              -- --fetch, joined by NUL; NULL: nothing comes back
    changed INTEGER NOT NULL DEFAULT 0,        -- 1: what is new or changed comes back too (--dir)
    lands   BLOB,                              -- the client's directory below which it lands
    missing INTEGER NOT NULL DEFAULT 0         -- 1: not here yet, the task is held for it; 2: and held by its client too
) STRICT;
CREATE INDEX task_files_bundle ON task_files (bundle);

-- What members brought back: an archive in spool/fetched/TASK.INDEX, of the last attempt.
CREATE TABLE fetched (
    task_id     INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    idx         INTEGER NOT NULL,
    number      INTEGER NOT NULL,              -- of the attempt
    digest      TEXT,                          -- NULL: there was nothing, or it could not be brought
    size        INTEGER NOT NULL DEFAULT 0,
    files       INTEGER NOT NULL DEFAULT 0,
    error       TEXT,                          -- why it could not be brought; it stays on the server
    remarks     TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(remarks)),
    unpacked_at INTEGER,                       -- NULL: by nobody yet
    PRIMARY KEY (task_id, idx)
) STRICT, WITHOUT ROWID;

-- Distributors in other homes.
ALTER TABLE distributor ADD COLUMN home TEXT;
ALTER TABLE distributor ADD COLUMN there TEXT;
ALTER TABLE distributor ADD COLUMN allowed INTEGER NOT NULL DEFAULT 1;
ALTER TABLE distributor ADD COLUMN silent_why TEXT;
ALTER TABLE distributor ADD COLUMN tried_at INTEGER;
ALTER TABLE user ADD COLUMN role TEXT NOT NULL DEFAULT 'submit';
CREATE TABLE report (
    distributor_id INTEGER PRIMARY KEY REFERENCES distributor (id) ON DELETE CASCADE,
    incarnation    INTEGER NOT NULL,
    sequence       INTEGER NOT NULL,
    servers        INTEGER NOT NULL,
    slots          INTEGER NOT NULL,
    running        INTEGER NOT NULL,
    waiting        INTEGER NOT NULL,
    idle_cpus      REAL    NOT NULL,
    power          REAL    NOT NULL,
    apps           TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(apps)),
    health         TEXT    NOT NULL,           -- UP, DRAINED, EMPTY
    version        TEXT    NOT NULL,           -- of the grid there
    why            TEXT    NOT NULL,           -- register, change, event, period, push
    received_at    INTEGER NOT NULL            -- on this home's clock
) STRICT;
CREATE TABLE registration (
    distributor_id INTEGER NOT NULL REFERENCES distributor (id) ON DELETE CASCADE,
    endpoint       TEXT    NOT NULL,           -- of the first tier's home
    name           TEXT    NOT NULL,           -- as it is called there
    offers         TEXT    NOT NULL,           -- the endpoint that it is reached at from there
    on_change      INTEGER NOT NULL DEFAULT 1,
    on_event       INTEGER NOT NULL DEFAULT 1,
    period         INTEGER,                    -- ms; NULL: not periodically
    to_all         INTEGER NOT NULL DEFAULT 1, -- also to every other first-tier member that this home knows
    sequence       INTEGER NOT NULL DEFAULT 0, -- of the last record sent
    sent           TEXT,                       -- that record
    sent_at        INTEGER,
    error          TEXT,                       -- why the newest state has not arrived there
    pushed         INTEGER NOT NULL DEFAULT 0, -- 1: something is to be sent
    PRIMARY KEY (distributor_id, endpoint)
) STRICT, WITHOUT ROWID;
CREATE TABLE away (
    task_id     INTEGER PRIMARY KEY REFERENCES task (id) ON DELETE CASCADE,
    sealed      BLOB    NOT NULL,              -- what was sent, to be offered again
    list        BLOB,                          -- and the lines of an array of many
    round       INTEGER NOT NULL,              -- of the last offer
    asked       TEXT    NOT NULL,              -- the endpoint that was asked last
    onward      INTEGER NOT NULL,              -- 1: it may have passed it on to its second tier
    among       TEXT,                          -- homes that it redirected to, where that is known
    asked_at    INTEGER NOT NULL,
    home        TEXT,                          -- of the owner; NULL: no answer yet
    remote_id   INTEGER,                       -- the task's id there
    answered_at INTEGER,                       -- when the state was heard last
    tried_at    INTEGER,                       -- when an answer was asked for in vain
    server      TEXT,
    signal      INTEGER,
    cancel      INTEGER                        -- a cancel that the owner has not heard yet: ms between TERM and KILL
) STRICT;
CREATE INDEX away_open ON away (task_id) WHERE home IS NULL OR cancel IS NOT NULL;
DROP VIEW distributor_view;
CREATE VIEW distributor_view AS
SELECT d.name, d.tier, d.endpoint,
       CASE WHEN d.drained IS NOT NULL THEN 'DRAINED' WHEN d.allowed = 0 THEN 'REGISTERED'
            WHEN d.silent_since IS NOT NULL THEN 'SILENT' ELSE 'UP' END AS state,
       d.drained AS drain_reason,
       coalesce((SELECT r.servers FROM report r WHERE r.distributor_id = d.id),
                (SELECT count(*) FROM server s WHERE s.distributor_id = d.id)) AS servers,
       d.position, p.policy,
       strftime('%Y-%m-%dT%H:%M:%fZ', (SELECT r.received_at FROM report r WHERE r.distributor_id = d.id) / 1000.0, 'unixepoch') AS reported_at
FROM distributor d JOIN distributor_set p ON p.tier = d.tier;
CREATE VIEW away_view AS
SELECT a.task_id AS task, a.home, a.remote_id, a.asked, a.server,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.answered_at / 1000.0, 'unixepoch') AS answered_at
FROM away a;

-- ---- backups

ALTER TABLE home ADD COLUMN backed_up_at INTEGER;
ALTER TABLE home ADD COLUMN restored_from INTEGER;
ALTER TABLE home ADD COLUMN restored_epoch INTEGER NOT NULL DEFAULT 0;
