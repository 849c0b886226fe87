//! Words that people bring from Slurm, PBS, LSF, pueue, task-spooler and a shell, each with the verb that does it here.

/// What each of these words is here.
const WORDS: [(&[&str], &str); 14] = [
    (
        &["squeue", "qstat", "bjobs", "list", "queue", "jobs", "ps", "sacct", "history"],
        "`grid status`, also of what ended: --all",
    ),
    (&["sinfo", "pbsnodes", "qhost", "bhosts", "nodes", "hosts", "servers"], "`grid server list`"),
    (&["sbatch", "qsub", "bsub", "add", "enqueue", "batch"], "`grid submit -- COMMAND`"),
    (&["srun", "salloc", "exec", "sync"], "`grid run -- COMMAND`"),
    (&["scancel", "qdel", "bkill", "kill", "stop", "abort"], "`grid cancel ID`"),
    (&["rm", "delete", "del", "clean"], "`grid remove ID` once the task has ended; `grid cancel ID` ends it"),
    (&["cat", "log", "output", "tail", "bpeek"], "`grid logs ID`; -f follows, -n 10 are the last lines"),
    (&["follow", "attach", "sattach"], "`grid logs -f ID`"),
    (&["restart", "rerun", "requeue"], "`grid retry ID`"),
    (&["pause", "stash", "suspend"], "`grid hold ID`, of what waits"),
    (&["resume", "unpause", "unstash"], "`grid release ID`"),
    (&["info", "details", "scontrol"], "`grid show ID`; `grid explain ID` says why it waits"),
    (&["sacctmgr", "users"], "`grid user list`"),
    (&["why"], "`grid explain ID`"),
];

/// The verb of grid for a word of another queue.
pub fn verb(word: &str) -> Option<&'static str> {
    WORDS.iter().find(|(words, _)| words.contains(&word)).map(|(_, verb)| *verb)
}

#[cfg(test)]
mod tests {
    use super::super::help;
    use super::*;

    #[test]
    fn words_of_other_queues_lead_to_verbs_that_exist_and_are_none_themselves() {
        let command = help::command();
        let verbs: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        for (words, here) in WORDS {
            for word in words {
                assert!(!verbs.contains(word), "{word} is a verb");
            }
            for named in here.split("`grid ").skip(1) {
                let verb = named.split([' ', '`']).next().unwrap_or_default();
                assert!(verbs.contains(&verb), "{here}");
            }
        }
        assert_eq!(verb("squeue"), Some("`grid status`, also of what ended: --all"));
        assert_eq!(verb("frobnicate"), None);
    }
}
