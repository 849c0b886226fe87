//! Help on the database of servers.

use super::{Topic, example, explained};

pub const TOPICS: &[Topic] = &[
    Topic { command: "server", notes: "", examples: &[example("grid server list")], exit: &[] },
    Topic {
        command: "server add",
        notes: "A host over ssh needs no installation: the agent is sent when it is first needed. Keys, jump hosts and known \
                hosts are ssh's own; $GRID_SSH_COMMAND, --ssh-command or `grid config set ssh.command` names another ssh. A \
                server keeps the command that it was added with.",
        examples: &[
            explained(
                "grid server add fast --local --slots 2 --set site=brno --app blender=4.1",
                "A part of this host.",
            ),
            explained("grid server add lab1 --ssh lab1 --max-load 6", "A host over ssh."),
            example(
                "grid server add lab2 --ssh me@lab2.example.org --ssh-option Port=2222 --prologue '. /opt/conda/etc/profile.d/conda.sh; conda activate ml'",
            ),
            explained("grid server add farm --of fast,slow", "Several servers taken as one."),
        ],
        exit: &[],
    },
    Topic {
        command: "server list",
        notes: "",
        examples: &[example("grid server list"), example("grid server list --json")],
        exit: &[],
    },
    Topic { command: "server show", notes: "", examples: &[example("grid server show local")], exit: &[] },
    Topic {
        command: "server set",
        notes: "",
        examples: &[
            example("grid server set lab1 --slots 4 --set rack=7"),
            explained(
                "grid server set lab1 --ssh lab1.example.org --ssh-option Port=2222",
                "Reach it another way; refused while tasks run there or outputs exist only there.",
            ),
        ],
        exit: &[],
    },
    Topic {
        command: "server unset",
        notes: "Names what was declared: an attribute, an application, or an option without its dashes.",
        examples: &[example("grid server unset lab1 max-load rack")],
        exit: &[],
    },
    Topic {
        command: "server remove",
        notes: "A host over ssh keeps this home's records, outputs and files, and the agents that were sent. On a terminal grid \
                asks whether to remove them; without a terminal it leaves them and names the directories.",
        examples: &[
            example("grid server remove lab1"),
            explained("grid server remove --clear lab1 lab2", "Clean up their hosts too."),
        ],
        exit: &[],
    },
    Topic {
        command: "server drain",
        notes: "Running tasks keep running.",
        examples: &[example("grid server drain lab1 --reason 'fan is loud'")],
        exit: &[],
    },
    Topic { command: "server resume", notes: "", examples: &[example("grid server resume lab1")], exit: &[] },
    Topic {
        command: "server refresh",
        notes: "",
        examples: &[explained("grid server refresh", "All servers."), example("grid server refresh lab1")],
        exit: &[],
    },
    Topic {
        command: "server import",
        notes: "Shows what it would add and asks; without a terminal it needs --yes or names. It logs in to each host first and \
                adds nothing where a step fails: the failing step is named with its remedy. Patterns, Match blocks and \
                hosts that only serve git are skipped. An unknown host key is shown, not accepted.",
        examples: &[
            explained("grid server import", "The hosts of ~/.ssh/config."),
            example("grid server import lab1 lab2 --set site=brno"),
            example("grid server import --ansible inventory.ini --yes"),
            explained("printf 'lab1\\nlab2\\n' | grid server import - --yes", "A list on stdin."),
        ],
        exit: &[],
    },
];
