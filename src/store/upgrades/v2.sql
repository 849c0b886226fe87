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
    lands   BLOB                               -- the client's directory below which it lands
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
