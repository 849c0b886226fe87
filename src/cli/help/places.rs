//! The variables that grid reads, those that tasks get, and the files of a home: for the manual pages.

/// Variables that change what a command does.
pub const VARIABLES: &[(&str, &str)] = &[
    ("GRID_HOME", "The home: the directory of the database. Default: $XDG_DATA_HOME/grid, else ~/.local/share/grid."),
    (
        "GRID_SSH_COMMAND",
        "The ssh command with its options. A server that is added keeps it; otherwise the home keeps that of the last caller.",
    ),
    ("SSH_AUTH_SOCK", "The ssh-agent for logins; the dispatcher tries the sessions of its callers, the newest first."),
    ("SSH_CONNECTION", "Set by sshd; `grid serve` takes its caller for a remote one."),
    ("XDG_DATA_HOME", "Where the default home is, if it is an absolute path."),
    ("XDG_CONFIG_HOME", "Where grid notes the home if ~ is on a network file system; default: ~/.config."),
    (
        "HOME",
        "Where the default home and ~/.ssh/config are; a working directory below it is the same below $HOME on a server.",
    ),
    ("PATH", "`grid cron install` writes it into the crontab lines."),
    ("LOGNAME", "The account's name, if /etc/passwd does not have it; USER after it."),
    ("USER", "See LOGNAME."),
    ("NO_COLOR", "If it is set and not empty, nothing is printed in bold."),
    ("CLICOLOR", "0 does the same on a terminal."),
    ("CLICOLOR_FORCE", "If it is set and not 0, headings are bold in a pipe too."),
    ("TERM", "dumb does the same as CLICOLOR=0."),
    ("TZ", "The time zone of printed times; submit passes it on to the task, on any server."),
    ("GRID_TASK_ID", "Set in a task: a grid there makes no home unless GRID_HOME says where."),
    ("GRID_SUBMIT_HOST", "Set in a task: named by a grid there that finds no home."),
];

/// Variables that every task gets.
pub const OF_TASKS: &[(&str, &str)] = &[
    ("GRID_HOME", "The home, on its own host."),
    ("GRID_TASK_ID", "The id of the task."),
    ("GRID_ARRAY_INDEX", "The index of the member, in an array."),
    ("GRID_ENTRY", "The line of the member, with --each-line."),
    ("GRID_ATTEMPT", "The number of the attempt, from 1."),
    ("GRID_ATTEMPT_ID", "The id of the attempt."),
    ("GRID_CPUS", "The processors that are reserved (--cpus)."),
    ("GRID_MEM", "The memory that is reserved, in bytes (--mem)."),
    ("GRID_SERVER", "The name of the server."),
    ("GRID_SUBMIT_HOST", "The host of the submit."),
    ("GRID_SUBMIT_DIR", "The working directory of the submit."),
];

/// Files of a home, and what grid keeps elsewhere.
pub const FILES: &[(&str, &str)] = &[
    ("$GRID_HOME/grid.db", "The database (SQLite); `grid sql --schema` explains every column."),
    ("$GRID_HOME/run/dispatcher.log", "Messages of the dispatcher."),
    ("$GRID_HOME/run/agent.log", "Messages of the agent on this host."),
    ("$GRID_HOME/run/cron.log", "The output of the last `grid refresh` that cron ran."),
    ("$GRID_HOME/spool/out", "Outputs that are too long for the database."),
    ("$GRID_HOME/spool/sent", "Files that were sent with tasks."),
    ("$GRID_HOME/spool/fetched", "Files that tasks brought back."),
    ("$GRID_HOME/spool/agent", "The records of runs on this host."),
    (
        "$GRID_HOME/agents/grid-ARCH",
        "A grid for servers of another architecture (`uname -m`); see the setting agent_dir.",
    ),
    ("~/.config/grid/home@HOST", "The home of this host, if ~ is on a network file system."),
    ("~/.ssh/config", "Read by ssh, and by `grid server import`."),
    ("~/.cache/grid/bin", "On a server over ssh: the agents that were sent."),
    (
        "~/.local/state/grid",
        "On a server over ssh: the records of runs; /var/tmp/grid-UID if ~ is on a network file system.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::home::Home;
    use std::collections::BTreeSet;

    /// Names of variables among the literals of a source file.
    fn named(source: &str) -> BTreeSet<&str> {
        let code = source.split("#[cfg(test)]").next().unwrap();
        let is_name = |text: &&str| {
            text.len() > 1
                && text.starts_with(|c: char| c.is_ascii_uppercase())
                && !text.contains(|c: char| !c.is_ascii_uppercase() && c != '_')
        };
        code.lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .flat_map(|line| line.split('"'))
            .filter(is_name)
            .collect()
    }

    #[test]
    fn every_variable_that_is_read_is_in_the_table() {
        let known: BTreeSet<&str> = VARIABLES.iter().map(|(name, _)| *name).collect();
        for source in [include_str!("../caller.rs"), include_str!("../output/mod.rs")] {
            let read = named(source);
            assert!(!read.is_empty() && read.is_subset(&known), "{:?}", read.difference(&known));
        }
    }

    #[test]
    fn every_variable_of_tasks_is_in_the_table() {
        let known: BTreeSet<&str> = OF_TASKS.iter().map(|(name, _)| *name).collect();
        let starts = include_str!("../../dispatch/attempts/starts.rs");
        let launch = include_str!("../../agent/launch.rs");
        let given = named(starts).into_iter().chain(named(launch)).filter(|name| name.starts_with("GRID_"));
        // GPUs can't be asked for yet.
        let given: BTreeSet<&str> = given.filter(|name| !["GRID_", "GRID_GPUS"].contains(name)).collect();
        assert_eq!(given, known);
    }

    #[test]
    fn files_are_those_of_a_home() {
        let home = Home::at("$GRID_HOME");
        let run = ["dispatcher.log", "agent.log", "cron.log"].map(|name| home.run_dir().join(name));
        let all = [home.database(), home.outputs(), home.sent(), home.fetched(), home.agent_spool()];
        for path in all.into_iter().chain(run) {
            assert!(FILES.iter().any(|(name, _)| std::path::Path::new(name) == path), "{}", path.display());
        }
    }
}
