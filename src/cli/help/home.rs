//! Help on `grid` itself, and on verbs on the home and its processes.

use super::super::exit::Code;
use super::{Topic, example, explained};

pub const TOPICS: &[Topic] = &[
    Topic {
        command: "",
        notes: "Tasks are named 12, 12.3 (a member of an array), 12-15, last or all. Every listing takes --json. Results go to \
                stdout, messages to stderr. The home is $GRID_HOME, else $XDG_DATA_HOME/grid, else ~/.local/share/grid.",
        examples: &[
            explained("grid run -- make -j4", "Run it where it fits best, show its output, exit with its code."),
            explained("grid submit -c 4 --mem 8G -- ./train.sh", "Queue it and print its id."),
            explained("grid status", "What runs, what waits and why; `grid` alone does the same."),
            explained("grid logs -f last", "Follow the output of the newest task."),
            explained("grid explain last", "Why it runs where it does, or why it waits."),
            explained("grid server list", "The servers and their attributes."),
        ],
        exit: &[],
    },
    Topic {
        command: "refresh",
        notes: "Servers are probed side by side; a server that does not answer delays no other. If another refresh runs, this one \
                exits. `grid cron install` runs it every 5 minutes.",
        examples: &[example("grid refresh")],
        exit: &[],
    },
    Topic { command: "cron", notes: "", examples: &[example("grid cron show")], exit: &[] },
    Topic {
        command: "cron install",
        notes: "The lines run `grid refresh`, also at boot: it probes all servers, collects tasks that ended, cleans up, and starts \
                waiting tasks. They name this program, this GRID_HOME and this PATH. Each host over ssh is logged in to once \
                as cron would, without ssh-agent; hosts that fail are named with the remedy. The output of the last run is in \
                run/cron.log in the home.",
        examples: &[example("grid cron install"), example("grid cron install --every 1h")],
        exit: &[],
    },
    Topic {
        command: "cron show",
        notes: "",
        examples: &[example("grid cron show"), explained("grid cron show --systemd", "Print units for a timer.")],
        exit: &[(Code::OK, "Installed."), (Code::REFUSED, "Not installed.")],
    },
    Topic { command: "cron remove", notes: "", examples: &[example("grid cron remove")], exit: &[] },
    Topic {
        command: "dispatcher",
        notes: "It starts when there is work and exits after `idle_exit` without work; tasks keep running without it.",
        examples: &[example("grid dispatcher status")],
        exit: &[],
    },
    Topic { command: "dispatcher status", notes: "", examples: &[example("grid dispatcher status")], exit: &[] },
    Topic { command: "dispatcher start", notes: "", examples: &[example("grid dispatcher start")], exit: &[] },
    Topic { command: "dispatcher stop", notes: "", examples: &[example("grid dispatcher stop")], exit: &[] },
    Topic { command: "config", notes: "", examples: &[example("grid config list")], exit: &[] },
    Topic {
        command: "config list",
        notes: "",
        examples: &[example("grid config list"), example("grid config list --json")],
        exit: &[],
    },
    Topic { command: "config get", notes: "", examples: &[example("grid config get keep_outputs")], exit: &[] },
    Topic { command: "config set", notes: "", examples: &[example("grid config set keep_outputs 60d")], exit: &[] },
    Topic { command: "config unset", notes: "", examples: &[example("grid config unset keep_outputs")], exit: &[] },
    Topic {
        command: "sql",
        notes: "Views keep their columns between versions: server_view user_view client_view distributor_view profile_view \
                attribute_view task_view member_view removed_view",
        examples: &[
            example("grid sql 'select name, state, idle_cpus from server_view'"),
            example("grid sql --json \"select id, exit_code from task_view where state = 'FAILED'\""),
            example("grid sql --schema"),
        ],
        exit: &[],
    },
    Topic {
        command: "doctor",
        notes: "",
        examples: &[
            explained("grid doctor", "This host and this home."),
            explained("grid doctor lab1", "The way to a host over ssh, step by step, until a step fails."),
        ],
        exit: &[(Code::OK, "No check failed."), (Code::REFUSED, "A check failed.")],
    },
    Topic {
        command: "backup",
        notes: "The file is a consistent snapshot, taken while grid runs; an existing file is never overwritten. Its mode is 0600, \
                because it contains the environments of tasks. It does not contain outputs over 16K: they are in spool/out of the home.",
        examples: &[example("grid backup grid-backup.db")],
        exit: &[],
    },
    Topic {
        command: "restore",
        notes: "The home must not exist yet. Tasks that had not ended are HELD: they may have run since. Tasks that still run are \
                looked up on their servers first. Servers that have met the restored home refuse the home that was backed up.",
        examples: &[example("GRID_HOME=\"$HOME/restored\" grid restore grid-backup.db")],
        exit: &[],
    },
    Topic {
        command: "gc",
        notes: "`grid refresh` and the dispatcher do the same.",
        examples: &[explained("grid gc -n", "Show what would be removed."), example("grid gc")],
        exit: &[],
    },
    Topic {
        command: "uninstall",
        notes: "All hosts over ssh are cleared of this home, and of agents that are not in use; first tiers hear that its distributors \
                leave; then its lines in the crontab and the home are removed. Refused while a task has not ended. If a host does not \
                answer, the home stays, and what to run on that host is printed. Files of tasks outside the home stay, and so do other \
                homes, files in the home that grid did not make, completions, manual pages and this program.",
        examples: &[
            explained("grid uninstall -n", "Show what would be removed, what would be lost with it, and what stays."),
            example("grid uninstall --yes"),
        ],
        exit: &[],
    },
    Topic {
        command: "completions",
        notes: "",
        examples: &[
            explained("grid completions bash > ~/.local/share/bash-completion/completions/grid", "For bash."),
            explained("grid completions fish > ~/.config/fish/completions/grid.fish", "For fish."),
        ],
        exit: &[],
    },
    Topic {
        command: "man",
        notes: "",
        examples: &[
            explained("grid man ~/.local/share/man/man1", "All pages; then `man grid-submit`."),
            explained("grid man | man -l -", "Read grid(1)."),
        ],
        exit: &[],
    },
];
