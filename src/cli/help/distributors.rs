//! Help on distributors.

use super::super::exit::Code;
use super::{Topic, example, explained};

pub const TOPICS: &[Topic] = &[
    Topic {
        command: "distributor",
        notes: "The first tier redirects; the second tier has the servers and keeps the tasks.",
        examples: &[example("grid distributor list")],
        exit: &[],
    },
    Topic {
        command: "distributor add",
        notes: "",
        examples: &[
            explained("grid distributor add lab-b --tier 2", "A second-tier distributor of this home."),
            explained("grid distributor add front-a --tier 1 --endpoint ssh:front-a", "A first tier in another home."),
        ],
        exit: &[],
    },
    Topic { command: "distributor list", notes: "", examples: &[example("grid distributor list")], exit: &[] },
    Topic { command: "distributor show", notes: "", examples: &[example("grid distributor show tier2")], exit: &[] },
    Topic {
        command: "distributor set",
        notes: "",
        examples: &[example("grid distributor set tier2 --set site=brno")],
        exit: &[],
    },
    Topic {
        command: "distributor unset",
        notes: "",
        examples: &[example("grid distributor unset tier2 site")],
        exit: &[],
    },
    Topic {
        command: "distributor remove",
        notes: "",
        examples: &[example("grid distributor remove lab-b")],
        exit: &[],
    },
    Topic {
        command: "distributor drain",
        notes: "Running tasks keep running. A task that only a drained distributor could run waits for it.",
        examples: &[example("grid distributor drain lab-b --reason 'moving house'")],
        exit: &[],
    },
    Topic {
        command: "distributor resume",
        notes: "",
        examples: &[example("grid distributor resume lab-b")],
        exit: &[],
    },
    Topic {
        command: "distributor order",
        notes: "",
        examples: &[example("grid distributor order --tier 2 lab-x,lab-y")],
        exit: &[],
    },
    Topic {
        command: "distributor search",
        notes: "",
        examples: &[
            explained("grid distributor search --tier 2", "Print the policy and the order."),
            example("grid distributor search --tier 2 round-robin"),
        ],
        exit: &[],
    },
    Topic {
        command: "distributor register",
        notes: "A first tier in another home redirects tasks here once its owner has run `grid distributor allow`.",
        examples: &[
            example("grid distributor register --as lab-x --with ssh:front-a --endpoint ssh:lab-x"),
            example("grid distributor register --as lab-x --with /home/me/front --on change,period:5min"),
        ],
        exit: &[],
    },
    Topic {
        command: "distributor unregister",
        notes: "The first tier shows the distributor as LEFT, and sends it no more tasks.",
        examples: &[example("grid distributor unregister --with ssh:front-a")],
        exit: &[],
    },
    Topic {
        command: "distributor allow",
        notes: "",
        examples: &[example("grid distributor allow lab-x --endpoint ssh:lab-x")],
        exit: &[],
    },
    Topic {
        command: "distributor push",
        notes: "",
        examples: &[example("grid distributor push")],
        exit: &[
            (Code::OK, "Every first tier has the report."),
            (Code::REFUSED, "A first tier does not have it yet; stderr names it. The dispatcher sends it again."),
        ],
    },
];
