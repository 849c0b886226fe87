-- grid: one home's database. Readable on its own; `grid sql` and `sqlite3 -readonly grid.db` may query it.
-- Rely on the views at the end; the tables may change with a version (PRAGMA user_version), the views only grow.
-- Times are milliseconds since 1970 UTC; the views show them as ISO 8601. Sizes are bytes.

-- ---------------------------------------------------------------- the home

CREATE TABLE home (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    id          TEXT    NOT NULL,              -- uuid of this home
    incarnation INTEGER NOT NULL DEFAULT 1,    -- raised when a backup is restored
    epoch       INTEGER NOT NULL DEFAULT 0,    -- raised at each dispatcher start; fences old starts
    lanes       INTEGER NOT NULL DEFAULT 0,    -- the last lane id given out
    changes     INTEGER NOT NULL DEFAULT 0,    -- counts what the dispatcher has to look at again
    created_at  INTEGER NOT NULL,
    backed_up_at INTEGER,                      -- this file is a backup of then; NULL: it is the home itself
    restored_from INTEGER,                     -- this home was restored from a backup of then
    restored_epoch INTEGER NOT NULL DEFAULT 0, -- attempts up to this epoch are from before that
    place       TEXT,                          -- the directory that this file was noted in; NULL: nowhere yet
    place_inode INTEGER,                       -- its inode then; 0: not kept by the file system
    place_born  INTEGER,                       -- when that file was made, ns; NULL: not known
    copied_from TEXT,                          -- this home is a copy of the one there, as restored_from says of when
    clock_wall  INTEGER,                       -- the wall clock when it was looked at last; NULL: never
    clock_since_boot INTEGER,                  -- and how long its host was up then, ms
    clock_boot  TEXT,                          -- since which boot
    clock_doubt INTEGER                        -- the wall clock was set then, and is not believed; NULL: it is
) STRICT;

CREATE TABLE setting (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- ---------------------------------------------------------------- the two tiers

CREATE TABLE distributor (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    name         TEXT    NOT NULL UNIQUE,
    tier         INTEGER NOT NULL CHECK (tier IN (1, 2)),
    position     INTEGER NOT NULL,             -- sets are searched in this order
    endpoint     TEXT    NOT NULL DEFAULT 'local',
    drained      TEXT,                         -- the reason; NULL: not drained
    silent_since INTEGER,                      -- NULL: it answers
    created_at   INTEGER NOT NULL,
    home         TEXT,                         -- endpoint elsewhere: the id of its home, once it said hello
    there        TEXT,                         -- its name over there; NULL: the first one of its tier
    allowed      INTEGER NOT NULL DEFAULT 1,   -- 0: it registered itself and waits for `grid distributor allow`
    silent_why   TEXT,
    tried_at     INTEGER,                      -- when a silent one was tried last
    left_at      INTEGER                       -- it unregistered: searches skip it until it registers again
) STRICT;

CREATE TABLE distributor_set (
    tier   INTEGER PRIMARY KEY CHECK (tier IN (1, 2)),
    policy TEXT    NOT NULL DEFAULT 'in-order',
    cursor INTEGER NOT NULL DEFAULT 0          -- where round-robin begins next
) STRICT;

-- What a second-tier distributor of another home last reported of itself. The newest by (incarnation, sequence) stands.
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
    health         TEXT    NOT NULL,           -- UP, DRAINED, EMPTY, LEFT
    version        TEXT    NOT NULL,           -- of the grid there
    why            TEXT    NOT NULL,           -- register, change, event, period, push, unregister
    received_at    INTEGER NOT NULL,           -- on this home's clock
    period         INTEGER,                    -- ms: it reports at least that often; NULL: it does not say
    placed         INTEGER NOT NULL DEFAULT 0  -- members placed there since, where the tier is searched by load
) STRICT;

-- Where second-tier distributors of this home report themselves.
CREATE TABLE registration (
    distributor_id INTEGER NOT NULL REFERENCES distributor (id) ON DELETE CASCADE,
    endpoint       TEXT    NOT NULL,           -- of the first tier's home
    name           TEXT    NOT NULL,           -- as it is called there
    offers         TEXT    NOT NULL,           -- the endpoint that it is reached at from there
    on_change      INTEGER NOT NULL DEFAULT 1,
    on_event       INTEGER NOT NULL DEFAULT 1,
    period         INTEGER,                    -- ms; NULL: not periodically
    to_all         INTEGER NOT NULL DEFAULT 1, -- every other first-tier member that this home knows gets one too
    sequence       INTEGER NOT NULL DEFAULT 0, -- of the last record sent
    sent           TEXT,                       -- that record
    sent_at        INTEGER,
    error          TEXT,                       -- why the newest state has not arrived there
    pushed         INTEGER NOT NULL DEFAULT 0, -- 1: something is to be sent
    implied        INTEGER NOT NULL DEFAULT 0, -- 1: by another registration of the distributor that is `to_all`
    left_at        INTEGER,                    -- unregistered since then, and the first tier has not been told
    PRIMARY KEY (distributor_id, endpoint)
) STRICT, WITHOUT ROWID;

-- The ssh command that an endpoint over ssh was named with. All that use an endpoint share one link. No row: the home's command.
CREATE TABLE endpoint_command (
    endpoint    TEXT PRIMARY KEY,
    ssh_command TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- ---------------------------------------------------------------- servers and their hosts

-- A machine since its last boot. All servers of this home on it share its processors and memory. A server can claim another
-- machine's name, and can't know its boot: so it can't change that one's row.
CREATE TABLE host (
    id            INTEGER PRIMARY KEY,
    machine       TEXT    NOT NULL,            -- /etc/machine-id and the host name: cloned machines share the first
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
    taken_cpus    INTEGER NOT NULL DEFAULT 0,  -- by tasks of this home
    taken_mem     INTEGER NOT NULL DEFAULT 0,
    started_since INTEGER NOT NULL DEFAULT 0,  -- cpus started less ended since read_at: corrects the measured load
    mem_since     INTEGER NOT NULL DEFAULT 0,
    UNIQUE (machine, boot_id)
) STRICT;

CREATE TABLE server (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    name           TEXT    NOT NULL UNIQUE,
    distributor_id INTEGER NOT NULL REFERENCES distributor (id),
    engine         TEXT    NOT NULL CHECK (engine IN ('local', 'ssh', 'group')),
    address        TEXT,                       -- ssh: the host as ssh knows it
    host_id        INTEGER REFERENCES host (id),
    health         TEXT    NOT NULL DEFAULT 'UNKNOWN' CHECK (health IN ('UP', 'DOWN', 'UNKNOWN')),
    error          TEXT,                       -- why it is DOWN
    since          INTEGER,                    -- since when it is DOWN
    contacted_at   INTEGER,
    drained        TEXT,                       -- the reason; NULL: not drained
    slots          INTEGER,                    -- declared parts of the host; NULL: all of it
    cpus           INTEGER,
    mem            INTEGER,
    max_load       REAL,
    accepts        TEXT,                       -- CEL: which tasks it takes
    declared_at    INTEGER NOT NULL,
    taken_slots    INTEGER NOT NULL DEFAULT 0,
    taken_cpus     INTEGER NOT NULL DEFAULT 0,
    taken_mem      INTEGER NOT NULL DEFAULT 0,
    kept_for       INTEGER,                    -- task that waits too long elsewhere passed over
    changed        INTEGER NOT NULL DEFAULT 0, -- home.changes at the last change that matching must see
    ssh_options    TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(ssh_options)),  -- what stands behind -o
    remote_dir     TEXT,                       -- ssh: where the agent lives over there; NULL: the usual places
    prologue       TEXT,                       -- shell lines whose environment tasks get there
    ssh_command    TEXT,                       -- ssh: the command that it was named with; NULL: the home's
    machine_id     INTEGER,                    -- ssh: the machine that answered last
    machine_since  INTEGER,                    -- since when, where it was another one before
    failing        INTEGER,                    -- so many attempts failed in a row at once, and others live elsewhere; NULL: it does not
    failing_at     INTEGER,                    -- the last of them
    failing_classes TEXT                       -- the classes that fail there, as JSON; NULL: any
) STRICT;
-- Machines that answered as servers over ssh: attempts are bound to them, for a name may come to lead to another one.
CREATE TABLE machine (
    id       INTEGER PRIMARY KEY,
    name     TEXT    NOT NULL,                 -- as host.machine
    hostname TEXT    NOT NULL,
    UNIQUE (name, hostname)
) STRICT;
-- When a machine answered last as a server: of each server by itself, for any server can claim to be any machine.
CREATE TABLE heard (
    server_id  INTEGER NOT NULL REFERENCES server (id) ON DELETE CASCADE,
    machine_id INTEGER NOT NULL,
    at         INTEGER NOT NULL,               -- then, or later
    PRIMARY KEY (server_id, machine_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX server_changed ON server (changed);
CREATE INDEX server_host ON server (host_id);

-- Servers that were removed: what ran there still says where.
CREATE TABLE former_server (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL
) STRICT;

-- One server made of several.
CREATE TABLE group_member (
    group_id  INTEGER NOT NULL REFERENCES server (id) ON DELETE CASCADE,
    member_id INTEGER NOT NULL REFERENCES server (id),
    position  INTEGER NOT NULL,
    PRIMARY KEY (group_id, member_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_member_member ON group_member (member_id);

-- Applications residing on a server.
CREATE TABLE app (
    server_id INTEGER NOT NULL REFERENCES server (id) ON DELETE CASCADE,
    name      TEXT    NOT NULL,
    version   TEXT,
    source    TEXT    NOT NULL CHECK (source IN ('declared', 'probed', 'reported')),
    read_at   INTEGER NOT NULL,
    PRIMARY KEY (server_id, name, source)
) STRICT, WITHOUT ROWID;

-- Open attributes of anything, typed as SQLite stores them; `type` tells bool and list apart.
CREATE TABLE attribute (
    owner    TEXT    NOT NULL CHECK (owner IN ('server', 'user', 'client', 'distributor')),
    owner_id INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    source   TEXT    NOT NULL CHECK (source IN ('declared', 'probed', 'reported')),
    type     TEXT    NOT NULL CHECK (type IN ('bool', 'int', 'double', 'text', 'list')),
    value    ANY,                              -- a list as JSON
    read_at  INTEGER NOT NULL,
    PRIMARY KEY (owner, owner_id, name, source)
) STRICT, WITHOUT ROWID;

-- ---------------------------------------------------------------- users, clients, profiles

CREATE TABLE user (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL UNIQUE,
    share      INTEGER NOT NULL DEFAULT 1,     -- stored and shown, not used yet
    prefer     TEXT,                           -- CEL: breaks ties of the task's own preference
    requires   TEXT,                           -- CEL: must be true for every task of this user
    created_at INTEGER NOT NULL,
    role       TEXT    NOT NULL DEFAULT 'submit',  -- from other homes: submit, see-all, operate, administer
    declared_at INTEGER                        -- when share, groups, role or an expression was declared last; NULL: when it was added
) STRICT;

CREATE TABLE user_group (
    user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    name    TEXT    NOT NULL,
    PRIMARY KEY (user_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE client (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    host    TEXT    NOT NULL UNIQUE,
    user    TEXT    NOT NULL DEFAULT '',       -- who submitted there last
    os      TEXT    NOT NULL DEFAULT '',
    arch    TEXT    NOT NULL DEFAULT '',
    seen_at INTEGER                            -- NULL: declared, never seen
) STRICT;

CREATE TABLE profile (
    name        TEXT PRIMARY KEY,
    settings    TEXT    NOT NULL CHECK (json_valid(settings)),
    declared_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- ---------------------------------------------------------------- tasks

-- Tasks that are equal for the matcher share a class; verdicts are reached once for each.
CREATE TABLE class (
    id             INTEGER PRIMARY KEY,
    distributor_id INTEGER NOT NULL REFERENCES distributor (id),
    user_id        INTEGER NOT NULL REFERENCES user (id),
    client_id      INTEGER NOT NULL REFERENCES client (id),
    demand         TEXT    NOT NULL CHECK (json_valid(demand)),
    priority       INTEGER NOT NULL,
    waiting        INTEGER NOT NULL DEFAULT 0, -- members waiting in all tasks of the class
    changed        INTEGER NOT NULL DEFAULT 0, -- home.changes when members began to wait last
    reason         TEXT,                       -- why its tasks wait
    UNIQUE (distributor_id, user_id, client_id, demand)
) STRICT;
CREATE INDEX class_waiting ON class (changed) WHERE waiting > 0;

-- What tasks inherit from the process that submitted them, on this host: equal ones are kept once.
CREATE TABLE environment (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    digest     BLOB    NOT NULL UNIQUE,        -- BLAKE3 of the rest
    attributes TEXT    NOT NULL CHECK (json_valid(attributes)),  -- umask, niceness, oom score, soft limits
    variables  BLOB,                           -- NAME=VALUE joined by NUL; NULL: those of a login
    made_at    INTEGER NOT NULL,
    erased_at  INTEGER                         -- the values were erased: the last of its tasks has ended long ago
) STRICT;

-- `shape` and `rest_state` are checked with OR, not IN: tasks come often, and for an IN of more than two SQLite fills a table at each insert.
CREATE TABLE task (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid          BLOB    NOT NULL UNIQUE,
    class_id      INTEGER NOT NULL REFERENCES class (id),
    user_id       INTEGER NOT NULL REFERENCES user (id),
    name          TEXT,
    argv          BLOB    NOT NULL,            -- arguments joined by NUL
    shown         TEXT    NOT NULL,            -- the command as a shell line, for people
    cwd           BLOB    NOT NULL,
    env           BLOB    NOT NULL,            -- NAME=VALUE joined by NUL: the language, and what --env names
    time_limit    INTEGER,                     -- ms
    stdout        BLOB,                        -- -o, -e: opened on the server
    stderr        BLOB,
    stdin         BLOB,
    retries       INTEGER NOT NULL DEFAULT 0,
    retry_lost    INTEGER NOT NULL DEFAULT 0,
    shape         TEXT    NOT NULL CHECK (shape = 'single' OR shape = 'array' OR shape = 'lines'),
    first         INTEGER NOT NULL DEFAULT 0,  -- array: first index and step
    step          INTEGER NOT NULL DEFAULT 1,
    size          INTEGER NOT NULL DEFAULT 1,
    at_once       INTEGER,                     -- array: at most so many at a time
    -- Members that never had an attempt have no row of their own: `rest` of them, from position `rest_next` on, all in `rest_state`.
    rest          INTEGER NOT NULL,
    rest_next     INTEGER NOT NULL DEFAULT 0,
    rest_state    TEXT    NOT NULL CHECK (rest_state = 'WAITING' OR rest_state = 'HELD' OR rest_state = 'CANCELLED' OR rest_state = 'SKIPPED'),
    -- How many members are in each phase; kept in the transaction that changes a member.
    waiting       INTEGER NOT NULL DEFAULT 0,
    held          INTEGER NOT NULL DEFAULT 0,
    starting      INTEGER NOT NULL DEFAULT 0,
    running       INTEGER NOT NULL DEFAULT 0,
    completed     INTEGER NOT NULL DEFAULT 0,
    failed        INTEGER NOT NULL DEFAULT 0,
    timeout       INTEGER NOT NULL DEFAULT 0,
    out_of_memory INTEGER NOT NULL DEFAULT 0,
    cancelled     INTEGER NOT NULL DEFAULT 0,
    skipped       INTEGER NOT NULL DEFAULT 0,
    lost          INTEGER NOT NULL DEFAULT 0,
    state         TEXT    NOT NULL GENERATED ALWAYS AS (
        CASE WHEN running > 0 THEN 'RUNNING' WHEN waiting + starting > 0 THEN 'PENDING' WHEN held > 0 THEN 'HELD'
             WHEN lost > 0 THEN 'LOST' WHEN failed > 0 THEN 'FAILED' WHEN timeout > 0 THEN 'TIMEOUT'
             WHEN out_of_memory > 0 THEN 'OUT_OF_MEMORY' WHEN cancelled > 0 THEN 'CANCELLED'
             WHEN skipped > 0 THEN 'SKIPPED' ELSE 'COMPLETED' END) VIRTUAL,
    reason        TEXT,                        -- why it is held, or waits for another cause than its class
    unmatched     INTEGER NOT NULL DEFAULT 0,  -- held because nothing could ever run it; waits by itself once something could
    exit_code     INTEGER,                     -- the highest of its members
    shell_code    INTEGER,                     -- the highest as a shell counts: 128+signal, 124 time limit, 125 lost, 130 cancelled
    submitted_at  INTEGER NOT NULL,
    started_at    INTEGER,
    ended_at      INTEGER,
    round         INTEGER NOT NULL DEFAULT 1,  -- of the commit that placed it here
    tier1         TEXT    NOT NULL,            -- the way it came
    tier2         TEXT    NOT NULL,
    search        INTEGER REFERENCES note (id),  -- what each tier answered
    verdict       INTEGER REFERENCES note (id),  -- of the last match: server by server
    verdict_at    INTEGER,
    client_home   BLOB,                        -- the client's $HOME where cwd lies below it: that of the server stands for it
    lost_after    INTEGER,                     -- ms without contact to its server after which it is LOST
    kept          INTEGER NOT NULL DEFAULT 0,  -- of a user from elsewhere: bytes of what it was submitted with, for user_spool
    max_output    TEXT,                        -- how much of each output is kept, as 1G or 1G,kill; NULL: the setting
    environment_id INTEGER,                    -- what it inherits on this host; NULL: it comes from another home
    foreign_end   INTEGER NOT NULL DEFAULT 0   -- 1: its client in another home has not heard how it ended; 2: it has; 0: it is of this home
) STRICT;
-- The queue of a class, in commit order.
CREATE INDEX task_queue ON task (class_id, id) WHERE waiting > 0;
CREATE INDEX task_unended ON task (id) WHERE waiting + held + starting + running > 0;
CREATE INDEX task_ended ON task (ended_at) WHERE waiting + held + starting + running = 0;
CREATE INDEX task_user ON task (user_id, id);
CREATE INDEX task_unmatched ON task (id) WHERE unmatched = 1;
CREATE INDEX task_name ON task (name, id) WHERE name IS NOT NULL;

-- Tasks of this home's clients that live in another home, or may: the row in `task` shows the last state heard.
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
    cancel      INTEGER,                       -- a cancel that the owner has not heard yet: ms between TERM and KILL
    unconfirmed INTEGER NOT NULL DEFAULT 0     -- 1: its end is recorded, and the owner has not heard that yet
) STRICT;
CREATE INDEX away_unconfirmed ON away (task_id) WHERE unconfirmed = 1;
CREATE INDEX away_open ON away (task_id) WHERE home IS NULL OR cancel IS NOT NULL;

-- Lines of an each-line task.
CREATE TABLE entry (
    task_id INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    idx     INTEGER NOT NULL,
    line    BLOB    NOT NULL,
    PRIMARY KEY (task_id, idx)
) STRICT, WITHOUT ROWID;

-- A member that has (had) an attempt, with its last one; or one that was cancelled by itself.
CREATE TABLE member (
    task_id    INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    idx        INTEGER NOT NULL,               -- 0 for a single task, else the array index or line number
    state      TEXT    NOT NULL,               -- WAITING (again), HELD, STARTING, RUNNING or how it ended
    number     INTEGER NOT NULL,               -- of the attempt, from 1; 0: none yet
    server_id  INTEGER,                        -- the server (or group) chosen
    host_id    INTEGER,                        -- the server it really runs on: a group's member
    lane       INTEGER,                        -- of one that lives, NULL: its process is gone, its outputs or files are on their way home
    boot_id    TEXT,                           -- that the start was meant for
    sent       INTEGER NOT NULL DEFAULT 0,     -- epoch in which the start was sent; 0: not yet
    orphaned   INTEGER NOT NULL DEFAULT 0,     -- its supervisor is gone, it runs on
    started_at INTEGER,
    ended_at   INTEGER,
    exit_code  INTEGER,
    signal     INTEGER,
    detail     TEXT,                           -- the system's words where it could not run, or why it is LOST
    cpu_ms     INTEGER,
    max_rss    INTEGER,
    out_len    INTEGER,
    err_len    INTEGER,
    home_out   INTEGER NOT NULL DEFAULT 0,     -- 1: longer outputs lie in spool/ of this home; 2: still on the server
    verdict    INTEGER REFERENCES note (id),
    cut        TEXT CHECK (cut IS NULL OR json_valid(cut)),  -- why its outputs are not all that it wrote; NULL: they are
    machine_id INTEGER,                        -- that it was sent to; NULL: this host, or not sent yet
    PRIMARY KEY (task_id, idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX member_live ON member (state, task_id, idx) WHERE state IN ('STARTING', 'RUNNING');
CREATE INDEX member_unsent ON member (task_id, idx) WHERE state = 'STARTING' AND sent = 0;
CREATE INDEX member_again ON member (task_id, idx) WHERE state IN ('WAITING', 'HELD');
CREATE INDEX member_there ON member (task_id) WHERE home_out = 2;

-- Attempts before the last one.
CREATE TABLE attempt (
    task_id    INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    idx        INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    state      TEXT    NOT NULL,
    server_id  INTEGER,
    host_id    INTEGER,
    started_at INTEGER,
    ended_at   INTEGER,
    exit_code  INTEGER,
    signal     INTEGER,
    detail     TEXT,
    home_out   INTEGER NOT NULL DEFAULT 0,     -- where its outputs lie, as in member
    cut        TEXT CHECK (cut IS NULL OR json_valid(cut)),
    machine_id INTEGER,                        -- that it ran on, as in member
    PRIMARY KEY (task_id, idx, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_there ON attempt (task_id) WHERE home_out = 2;

-- Small outputs; longer ones are files in spool/.
CREATE TABLE output (
    task_id INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    idx     INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    stream  TEXT    NOT NULL CHECK (stream IN ('out', 'err')),
    body    BLOB    NOT NULL,
    PRIMARY KEY (task_id, idx, number, stream)
) STRICT, WITHOUT ROWID;

-- Attempts whose outputs or files lie on a server and are not needed any more; a row goes once the agent there has heard it.
CREATE TABLE discard (
    host_id INTEGER NOT NULL REFERENCES server (id) ON DELETE CASCADE,
    uuid    BLOB    NOT NULL,                  -- of the task, which may be gone
    idx     INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,                  -- of its outputs
    machine_id INTEGER,                        -- that has it; NULL: this host, or not known
    PRIMARY KEY (host_id, uuid, idx, number)
) STRICT, WITHOUT ROWID;

-- Cancels that were asked for and are not confirmed; idx NULL: every member.
CREATE TABLE cancel (
    task_id  INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    idx      INTEGER,
    asked_at INTEGER NOT NULL,
    grace    INTEGER NOT NULL,                 -- ms between TERM and KILL
    UNIQUE (task_id, idx)
) STRICT;

-- uuids that this home has refused for good, up to a round of offers.
CREATE TABLE tombstone (
    uuid    BLOB    NOT NULL,
    user_id INTEGER NOT NULL,                  -- who is refused; 0: everybody
    round   INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (uuid, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstone_user ON tombstone (user_id);

-- Servers that refused to start a task: it does not go there again until they are declared anew.
CREATE TABLE refusal (
    task_id   INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    server_id INTEGER NOT NULL REFERENCES server (id) ON DELETE CASCADE,
    at        INTEGER NOT NULL,
    why       TEXT    NOT NULL,
    PRIMARY KEY (task_id, server_id)
) STRICT, WITHOUT ROWID;

-- What happened to a task besides its attempts: held, released, cancel asked, refused by a server.
CREATE TABLE trace (
    task_id INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    at      INTEGER NOT NULL,
    what    TEXT    NOT NULL
) STRICT;
CREATE INDEX trace_task ON trace (task_id);

-- Texts that many tasks share: searches and verdicts as JSON, kept once.
CREATE TABLE note (
    id   INTEGER PRIMARY KEY,
    body TEXT NOT NULL UNIQUE
) STRICT;

-- All members of all tasks by phase, in one row.
CREATE TABLE tally (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    pending       INTEGER NOT NULL DEFAULT 0,
    held          INTEGER NOT NULL DEFAULT 0,
    running       INTEGER NOT NULL DEFAULT 0,
    completed     INTEGER NOT NULL DEFAULT 0,
    failed        INTEGER NOT NULL DEFAULT 0,
    timeout       INTEGER NOT NULL DEFAULT 0,
    out_of_memory INTEGER NOT NULL DEFAULT 0,
    cancelled     INTEGER NOT NULL DEFAULT 0,
    skipped       INTEGER NOT NULL DEFAULT 0,
    lost          INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO tally (one) VALUES (1);

-- `WHERE one = 1`: SQLite then knows that one row is meant, and makes no list of them first.
CREATE TRIGGER task_added AFTER INSERT ON task BEGIN
    UPDATE tally SET pending = pending + new.waiting + new.starting, held = held + new.held WHERE one = 1;
    UPDATE home SET changes = changes + 1 WHERE one = 1;
    UPDATE class SET waiting = waiting + new.waiting, changed = (SELECT changes FROM home) WHERE id = new.class_id AND new.waiting > 0;
END;
-- A trigger that names a column behind the 32nd has SQLite load all columns, old and new: `skipped` and `lost` have one of their own.
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
CREATE TRIGGER task_placed AFTER UPDATE OF waiting ON task WHEN new.waiting <> old.waiting BEGIN
    UPDATE class SET waiting = waiting + new.waiting - old.waiting WHERE id = new.class_id;
END;
CREATE TRIGGER task_waits_again AFTER UPDATE OF waiting ON task WHEN new.waiting > old.waiting BEGIN
    UPDATE home SET changes = changes + 1 WHERE one = 1;
    UPDATE class SET changed = (SELECT changes FROM home) WHERE id = new.class_id;
END;
CREATE TRIGGER task_removed AFTER DELETE ON task BEGIN
    UPDATE tally SET
        pending = pending - old.waiting - old.starting, held = held - old.held, running = running - old.running,
        completed = completed - old.completed, failed = failed - old.failed, timeout = timeout - old.timeout,
        out_of_memory = out_of_memory - old.out_of_memory, cancelled = cancelled - old.cancelled,
        skipped = skipped - old.skipped, lost = lost - old.lost
    WHERE one = 1;
    UPDATE class SET waiting = waiting - old.waiting WHERE id = old.class_id AND old.waiting > 0;
END;

-- ---------------------------------------------------------------- files that travel with tasks

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
    unpacked_at INTEGER,                       -- all of it; NULL: by nobody yet; of a task of another home: given to its client
    not_unpacked TEXT,                         -- what could not be unpacked the last time, and why
    noticed_at  INTEGER,                       -- `status` says since then that gc takes it soon
    dropped_at  INTEGER,                       -- the archive is gone since then, unpacked by nobody
    PRIMARY KEY (task_id, idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX fetched_noticed ON fetched (task_id) WHERE noticed_at IS NOT NULL AND unpacked_at IS NULL AND dropped_at IS NULL;

-- What removed tasks used, by user and day of their end (days since 1970 UTC).
CREATE TABLE removed_usage (
    user        TEXT    NOT NULL,
    day         INTEGER NOT NULL,
    tasks       INTEGER NOT NULL,
    members     INTEGER NOT NULL,
    wall_ms     INTEGER NOT NULL,              -- of all attempts
    cpu_ms      INTEGER NOT NULL,              -- of last attempts
    reserved_ms INTEGER NOT NULL,              -- wall time times processors asked for
    PRIMARY KEY (user, day)
) STRICT, WITHOUT ROWID;

-- ---------------------------------------------------------------- views: what people and scripts may rely on

CREATE VIEW server_view AS
SELECT s.name, s.engine,
       CASE WHEN s.drained IS NOT NULL THEN 'DRAINED' ELSE s.health END AS state,
       d.name AS distributor, s.drained AS drain_reason, s.error,
       coalesce(s.slots, s.cpus, h.cpus) AS slots, s.taken_slots AS running_slots,
       coalesce(s.cpus, h.cpus) AS cpus, s.taken_cpus, s.max_load, s.accepts,
       h.hostname, h.os, h.arch, h.kernel, h.power, h.load1, h.idle_cpus, h.mem_total, h.mem_available, h.disk_free,
       strftime('%Y-%m-%dT%H:%M:%fZ', h.read_at / 1000.0, 'unixepoch') AS read_at
FROM server s JOIN distributor d ON d.id = s.distributor_id LEFT JOIN host h ON h.id = s.host_id;

CREATE VIEW user_view AS
SELECT u.name, u.share, u.prefer, u.requires,
       (SELECT group_concat(g.name, ',') FROM user_group g WHERE g.user_id = u.id) AS groups
FROM user u;

CREATE VIEW client_view AS
SELECT c.host AS name, c.user, c.os, c.arch,
       strftime('%Y-%m-%dT%H:%M:%fZ', c.seen_at / 1000.0, 'unixepoch') AS seen_at
FROM client c;

CREATE VIEW distributor_view AS
SELECT d.name, d.tier, d.endpoint,
       CASE WHEN d.drained IS NOT NULL THEN 'DRAINED' WHEN d.allowed = 0 THEN 'REGISTERED' WHEN d.left_at IS NOT NULL THEN 'LEFT'
            WHEN d.silent_since IS NOT NULL THEN 'SILENT'
            WHEN (SELECT r.received_at + coalesce(r.period, 86400000) + 60000 FROM report r WHERE r.distributor_id = d.id)
                 < unixepoch('subsec') * 1000 THEN 'STALE'
            ELSE 'UP' END AS state,
       d.drained AS drain_reason,
       coalesce((SELECT r.servers FROM report r WHERE r.distributor_id = d.id),
                (SELECT count(*) FROM server s WHERE s.distributor_id = d.id)) AS servers,
       d.position, p.policy,
       strftime('%Y-%m-%dT%H:%M:%fZ', (SELECT r.received_at FROM report r WHERE r.distributor_id = d.id) / 1000.0, 'unixepoch') AS reported_at
FROM distributor d JOIN distributor_set p ON p.tier = d.tier;

CREATE VIEW profile_view AS
SELECT name, settings FROM profile;

CREATE VIEW attribute_view AS
SELECT a.owner,
       CASE a.owner WHEN 'server' THEN (SELECT name FROM server WHERE id = a.owner_id)
                    WHEN 'user' THEN (SELECT name FROM user WHERE id = a.owner_id)
                    WHEN 'client' THEN (SELECT host FROM client WHERE id = a.owner_id)
                    ELSE (SELECT name FROM distributor WHERE id = a.owner_id) END AS of,
       a.name, a.type, a.value, a.source, strftime('%Y-%m-%dT%H:%M:%fZ', a.read_at / 1000.0, 'unixepoch') AS read_at
FROM attribute a;

CREATE VIEW task_view AS
SELECT t.id, t.name, u.name AS user, t.state, coalesce(s.name, f.name) AS server, t.exit_code,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.submitted_at / 1000.0, 'unixepoch') AS submitted_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.started_at / 1000.0, 'unixepoch') AS started_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.ended_at / 1000.0, 'unixepoch') AS ended_at,
       t.shown AS command, t.size, t.reason, t.tier1, t.tier2
FROM task t JOIN user u ON u.id = t.user_id
LEFT JOIN member m ON m.task_id = t.id AND m.idx = 0 AND t.shape = 'single'
LEFT JOIN server s ON s.id = m.server_id LEFT JOIN former_server f ON f.id = m.server_id;

CREATE VIEW away_view AS
SELECT a.task_id AS task, a.home, a.remote_id, a.asked, a.server,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.answered_at / 1000.0, 'unixepoch') AS answered_at
FROM away a;

CREATE VIEW member_view AS
SELECT t.id AS task, m.idx, CASE m.state WHEN 'STARTING' THEN 'PENDING' WHEN 'WAITING' THEN 'PENDING' ELSE m.state END AS state,
       m.number AS attempt, coalesce(s.name, f.name) AS server, m.exit_code, m.signal, m.cpu_ms, m.max_rss,
       strftime('%Y-%m-%dT%H:%M:%fZ', m.started_at / 1000.0, 'unixepoch') AS started_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', m.ended_at / 1000.0, 'unixepoch') AS ended_at, CAST(e.line AS TEXT) AS line
FROM member m JOIN task t ON t.id = m.task_id
LEFT JOIN server s ON s.id = m.server_id LEFT JOIN former_server f ON f.id = m.server_id
LEFT JOIN entry e ON e.task_id = m.task_id AND e.idx = m.idx;

CREATE VIEW removed_view AS
SELECT user, date(day * 86400, 'unixepoch') AS day, tasks, members, wall_ms, cpu_ms, reserved_ms
FROM removed_usage;
