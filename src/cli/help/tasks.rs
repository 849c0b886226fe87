//! Help on verbs on tasks.

use super::super::exit::Code;
use super::{Topic, example, explained};

pub const TOPICS: &[Topic] = &[
    Topic {
        command: "submit",
        notes: "Everything after `--` is run exactly as typed, without a shell.",
        examples: &[
            example("grid submit -- ./render.sh scene.blend"),
            example("grid submit -c 8 --mem 16G -t 2h --app 'blender>=4.1' -- blender -b scene.blend"),
            explained(
                "grid submit -a 1-100%4 -- sh -c 'echo $GRID_ARRAY_INDEX'",
                "An array of 100 members, at most 4 at once.",
            ),
            explained("ls *.wav | grid submit --each-line - -- flac {}", "A member for each line of stdin."),
            explained(
                "grid submit --send job.py --send in.csv --fetch 'out*' -- python3 job.py in.csv",
                "Send two files, bring back the files that match.",
            ),
            explained("grid submit --shell 'make && make test'", "A line for sh."),
            example("grid submit -C 'server.site == client.site' --prefer server.power -- ./job"),
        ],
        exit: &[
            (Code::OK, "The task is accepted; with --wait, it completed."),
            (Code::REFUSED, ""),
            (Code::USAGE, ""),
            (Code::NO_MATCH, "No server can ever run it; stderr has the reason of each server."),
            (
                Code::GRID_FAILED,
                "With --wait, which otherwise exits with the task's code as `grid run` does: grid failed.",
            ),
        ],
    },
    Topic {
        command: "run",
        notes: "Everything after `--` is run exactly as typed, without a shell.\n\n\
                Ctrl-C cancels the task; a second Ctrl-C returns at once, and the cancel goes on. If the reader of the output \
                exits (`grid run -- yes | head`), the task is cancelled; --keep-going lets it run. If the session drops and \
                takes its terminal away, the task keeps running.",
        examples: &[
            example("grid run -- uname -n"),
            explained("grid run --stdin -- wc -l < book.txt", "The task reads the file on its stdin."),
            explained("grid run --dir -- make", "Send this directory, bring back what the task changed."),
        ],
        exit: &[
            (Code::OK, "The command's own code, from 0 to 255, where none of the following applies."),
            (Code::REFUSED, ""),
            (Code::USAGE, ""),
            (Code::NO_MATCH, "No server can ever run it; stderr has the reason of each server."),
            (Code::TIME_LIMIT, ""),
            (Code::GRID_FAILED, ""),
            (Code::NOT_EXECUTABLE, ""),
            (Code::NOT_FOUND, ""),
            (Code::SIGNAL, ""),
            (Code::CANCELLED, ""),
            (Code::READER_GONE, ""),
        ],
    },
    Topic {
        command: "status",
        notes: "Lists all tasks that have not ended and the 20 that ended last, at most 1,000. `grid` without a verb is `grid status`.",
        examples: &[
            example("grid status"),
            explained("grid status 12-15", "Only these tasks."),
            explained("grid status --all --json", "All tasks in the database, as JSON."),
        ],
        exit: &[],
    },
    Topic {
        command: "show",
        notes: "",
        examples: &[example("grid show last"), explained("grid show 12.3", "Member 3 of array 12.")],
        exit: &[],
    },
    Topic {
        command: "explain",
        notes: "For a waiting task it also names the changes with which a server would match.",
        examples: &[example("grid explain last"), example("grid explain 12.3")],
        exit: &[],
    },
    Topic {
        command: "logs",
        notes: "The task's stdout goes to stdout, its stderr to stderr. Outputs are kept for `keep_outputs` (30 days by default).",
        examples: &[
            example("grid logs last"),
            explained("grid logs -f 12.3", "Follow member 3 of array 12 until it ends."),
            explained("grid logs --attempt 1 --err 12", "The stderr of the first attempt."),
        ],
        exit: &[
            (Code::OK, "The whole output was printed."),
            (Code::REFUSED, "An output is removed or unavailable; stderr has the reason."),
        ],
    },
    Topic {
        command: "fetch",
        notes: "Files named with --fetch or --dir are brought home when the task ends; `run`, `wait` and `submit --wait` unpack \
                them. A file that changed here since the submit is not overwritten: the task's version is written beside it as \
                NAME.grid-ID. Nothing is written outside the directory. `grid fetch` asks again for what could not be \
                brought home.",
        examples: &[
            example("grid fetch last"),
            explained("grid fetch 12.3 --to results", "Unpack below another directory."),
        ],
        exit: &[
            (Code::OK, "All files are here."),
            (Code::REFUSED, "A file is missing or was not written; stderr has the reason."),
        ],
    },
    Topic {
        command: "wait",
        notes: "`all` means your tasks that have not ended and are not held; the id of an array means all its members. Several \
                tasks give the highest of their codes.",
        examples: &[
            explained("grid wait", "Until all your tasks have ended."),
            example("grid wait 12 13"),
            explained("grid wait --json last", "Then print how it ended."),
        ],
        exit: &[
            (Code::OK, "The tasks completed; otherwise the highest of their codes, as of `grid run`."),
            (Code::TIME_LIMIT, ""),
            (Code::GRID_FAILED, ""),
            (Code::CANCELLED, ""),
        ],
    },
    Topic {
        command: "cancel",
        notes: "Returns when the cancel is recorded; the task is CANCELLED once its server has confirmed it. A task that ends \
                before that keeps its own result.",
        examples: &[
            example("grid cancel last"),
            explained("grid cancel --wait 12-15", "Return when they have ended."),
            explained("grid cancel --grace 0 all", "Send KILL at once."),
        ],
        exit: &[
            (Code::OK, "Recorded, or it has ended already."),
            (
                Code::REFUSED,
                "A task can't be cancelled: its home does not know it, or it has just moved; stderr has the reason.",
            ),
        ],
    },
    Topic {
        command: "hold",
        notes: "A held task does not start until `grid release`.",
        examples: &[example("grid hold last"), explained("grid hold all", "All your waiting tasks.")],
        exit: &[
            (Code::OK, "Held; with `all`, also if a task has no member that waits: it is named on stderr."),
            (Code::REFUSED, "A task that was named has no member that waits; stderr has the reason."),
        ],
    },
    Topic {
        command: "release",
        notes: "",
        examples: &[example("grid release last"), example("grid release all")],
        exit: &[
            (Code::OK, "Released; with `all`, also if a task is not held: it is named on stderr."),
            (Code::REFUSED, "A task that was named is not held; stderr has the reason."),
        ],
    },
    Topic {
        command: "move",
        notes: "A task stays in the home that took it. `grid move` has that home give the task up, if nothing of it ever started, and \
                searches for it anew; it keeps its id. A task stays where it waits if no other distributor could start it now, or if \
                its home does not answer. `all` means your waiting tasks. `grid explain` names the distributor that could start a \
                task.",
        examples: &[
            example("grid move last"),
            explained("grid move all", "All your waiting tasks that another distributor could start."),
        ],
        exit: &[
            (Code::OK, "Moved; with `all`, also if tasks stay: they are named on stderr."),
            (Code::REFUSED, "A task that was named stays where it is; stderr has the reason."),
        ],
    },
    Topic {
        command: "retry",
        notes: "Starts tasks that failed, timed out, were cancelled or are LOST; a LOST task may then run twice.",
        examples: &[example("grid retry last"), explained("grid retry --failed all", "Only tasks that FAILED.")],
        exit: &[
            (Code::OK, "Queued again; with `all`, also if a task has nothing to retry: it is named on stderr."),
            (Code::REFUSED, "A task that was named has nothing to retry; stderr has the reason."),
        ],
    },
    Topic {
        command: "remove",
        notes: "Removes the task's row, its outputs (long outputs on their servers too) and the files that it brought back. Its \
                usage stays in the sums of its user. A task is refused if it has not ended, if its files are not unpacked, \
                or if its client in another home does not yet know how it ended; --ended, --older and `all` skip such \
                tasks and name them. For a task in another home only the row here is removed; --everywhere removes the \
                task there too.",
        examples: &[
            example("grid remove last"),
            explained("grid remove -n --ended", "Show what would be removed."),
            explained("grid remove --older 7d", "Tasks that ended more than 7 days ago."),
            explained("grid remove --discard all", "Also tasks whose files are not unpacked."),
        ],
        exit: &[(Code::OK, "Removed."), (Code::REFUSED, "Refused: nothing was removed; stderr has the reasons.")],
    },
];
