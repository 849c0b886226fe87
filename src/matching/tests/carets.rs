//! Where the caret stands, and in which words.

use crate::matching::{ExpressionRole, check};

fn shown(all: &[(ExpressionRole, &str)]) -> String {
    all.iter().map(|(role, text)| format!("{}\n", check(text, *role).expect_err(text))).collect()
}

#[test]
fn caret_points_at_the_error() {
    use ExpressionRole::{Accepts, Constraint, Preference};
    insta::assert_snapshot!(shown(&[
        (Constraint, "sever.cpus > 3"),
        (Constraint, "server.cpus > \"3\""),
        (Constraint, "server.os == \"é\" && brno == server.site"),
        (Constraint, "server.os == \"é\" && && true"),
        (Constraint, "server.site = \"brno\""),
        (Constraint, "server.cpus > 3 and server.load1 < 2"),
        (Constraint, "server.site == \"brno"),
        (Constraint, "server.cpus >"),
        (Constraint, "(server.cpus > 3"),
        (Constraint, "server.cpus > 3)"),
        (Constraint, "server.cpus"),
        (Constraint, "server == 3"),
        (Constraint, "server[task.name] == 3"),
        (Constraint, "server.os.lower() == \"x\""),
        (Constraint, "server.rack == null"),
        (Constraint, "server.apps.blender"),
        (Constraint, "\"blender\" in server.os"),
        (Constraint, "server.os.matches(client.os)"),
        (Constraint, "server.os.matches(\"(\")"),
        (Constraint, "1 == \"a\""),
        (Constraint, "!server.cpus"),
        (Constraint, ""),
        (Constraint, "  "),
        (Constraint, "version(server.kernel)"),
        (Constraint, "server.kernel in [version(\"6.9\")]"),
        (Constraint, "version(server.kernel) + 1 > 2"),
        (Constraint, "version(server.apps) > \"6\""),
        (Preference, "server.os"),
        (Accepts, "task.cpus + 1"),
        (Accepts, "\"staff\" in user.groups\n  && task.cpuz.x < tsk.cpus"),
    ]));
}
