//! Help on users, profiles and clients.

use super::{Topic, example, explained};

pub const TOPICS: &[Topic] = &[
    Topic {
        command: "user",
        notes: "Users are not a security boundary: all tasks run under the account of the home.",
        examples: &[example("grid user list")],
        exit: &[],
    },
    Topic {
        command: "user add",
        notes: "",
        examples: &[example("grid user add alice --group staff --share 2 --prefer 'server.site == \"brno\"'")],
        exit: &[],
    },
    Topic { command: "user list", notes: "", examples: &[example("grid user list")], exit: &[] },
    Topic { command: "user show", notes: "", examples: &[example("grid user show alice")], exit: &[] },
    Topic {
        command: "user set",
        notes: "",
        examples: &[explained("grid user set alice --group staff,night", "Replaces the groups.")],
        exit: &[],
    },
    Topic { command: "user unset", notes: "", examples: &[example("grid user unset alice prefer group")], exit: &[] },
    Topic { command: "user remove", notes: "", examples: &[example("grid user remove alice")], exit: &[] },
    Topic {
        command: "user allow",
        notes: "Append the user's public key to the printed line, and add the line to ~/.ssh/authorized_keys on this host.",
        examples: &[
            explained("grid user allow alice >> alice.line", "A user who submits from another home."),
            explained("grid user allow front-a --vouch", "A first tier, which may speak for its users."),
        ],
        exit: &[],
    },
    Topic {
        command: "task",
        notes: "`grid status` lists the tasks themselves.",
        examples: &[example("grid task list")],
        exit: &[],
    },
    Topic {
        command: "task add",
        notes: "",
        examples: &[
            example("grid task add render --cpus 2 --mem 1G --app blender --prefer server.power"),
            explained("grid submit --profile render -- blender -b scene.blend", "Use it."),
        ],
        exit: &[],
    },
    Topic { command: "task list", notes: "", examples: &[example("grid task list")], exit: &[] },
    Topic { command: "task show", notes: "", examples: &[example("grid task show render")], exit: &[] },
    Topic { command: "task set", notes: "", examples: &[example("grid task set render --mem 2G")], exit: &[] },
    Topic { command: "task unset", notes: "", examples: &[example("grid task unset render prefer")], exit: &[] },
    Topic { command: "task remove", notes: "", examples: &[example("grid task remove render")], exit: &[] },
    Topic { command: "client", notes: "", examples: &[example("grid client list")], exit: &[] },
    Topic { command: "client list", notes: "", examples: &[example("grid client list")], exit: &[] },
    Topic { command: "client show", notes: "", examples: &[example("grid client show \"$(uname -n)\"")], exit: &[] },
    Topic {
        command: "client set",
        notes: "",
        examples: &[example("grid client set \"$(uname -n)\" --set site=brno")],
        exit: &[],
    },
    Topic {
        command: "client unset",
        notes: "",
        examples: &[example("grid client unset \"$(uname -n)\" site")],
        exit: &[],
    },
    Topic { command: "client remove", notes: "", examples: &[example("grid client remove laptop")], exit: &[] },
];
