//! A client, three first tiers and three second tiers on hosts of their own, over real ssh; if wanted, with two servers each,
//! which are hosts of their own too.

use super::rig::Plan;
use super::{Grid, Rig, process};

/// First tiers by the names that everybody gives them, and their hosts.
pub const FRONTS: [(&str, &str); 3] = [("front-a", "h1"), ("front-b", "h2"), ("front-c", "h3")];
/// Second tiers.
pub const LABS: [(&str, &str); 3] = [("lab-x", "h4"), ("lab-y", "h5"), ("lab-z", "h6")];
/// Servers, with their lab's host and the site that is declared of them.
pub const SERVERS: [(&str, &str, &str, &str); 6] = [
    ("x1", "h7", "h4", "brno"),
    ("x2", "h8", "h4", "brno"),
    ("y1", "h9", "h5", "oslo"),
    ("y2", "h10", "h5", "oslo"),
    ("z1", "h11", "h6", "lyon"),
    ("z2", "h12", "h6", "lyon"),
];

/// Hosts of both tiers.
const MEMBERS: [&str; 6] = ["h1", "h2", "h3", "h4", "h5", "h6"];

/// Them all. `head` is the client.
pub struct Tiers {
    pub rig: Rig,
}

impl Tiers {
    /// The hosts of both tiers, which do not know each other yet. None where there can be no hosts.
    #[track_caller]
    pub fn up() -> Option<Self> {
        Self::on(Plan::of(6))
    }

    /// Everything in its place: a client that has only the fronts, fronts that know the labs, labs with two hosts as servers.
    #[track_caller]
    pub fn with_servers() -> Option<Self> {
        let tiers = Self::on(Plan::of(12))?;
        let adding = SERVERS.map(|(name, host, lab, site)| {
            let site = format!("site={site}");
            tiers.at(lab).beside(["server", "add", name, "--ssh", host, "--slots", "2", "--cpus", "2", "--set", &site])
        });
        for (child, (name, ..)) in adding.into_iter().zip(SERVERS) {
            process::finish(child, format!("grid server add {name}")).expect(0);
        }
        for (_, lab) in LABS {
            tiers.at(lab).grid(["server", "remove", "local"]).ok();
        }
        tiers.together();
        Some(tiers)
    }

    #[track_caller]
    fn on(plan: Plan) -> Option<Self> {
        let tiers = Self { rig: plan.with_grid(&MEMBERS).up()? };
        for host in MEMBERS {
            // A home is made by a person only.
            tiers.at(host).grid(["status"]).ok();
        }
        Some(tiers)
    }

    /// A person at a shell of a host.
    pub fn at(&self, host: &str) -> Grid {
        self.rig.at(host)
    }

    /// The same at the client's.
    pub fn client(&self) -> Grid {
        self.at("head")
    }

    /// Each lab is registered with each front, whose owner lets tasks go there; the client has the fronts.
    #[track_caller]
    pub fn together(&self) {
        for (name, host) in FRONTS {
            let endpoint = format!("ssh:{host}");
            self.client().grid(["distributor", "add", name, "--tier", "1", "--endpoint", &endpoint]).ok();
        }
        self.client().grid(["distributor", "remove", "tier1"]).ok();
        for lab in LABS {
            self.register(lab, &["--to", "all", "--on", "change,event,period:60s"]);
            for (_, front) in FRONTS {
                self.at(front).grid(["distributor", "allow", lab.0, "--endpoint", &format!("ssh:{}", lab.1)]).ok();
            }
        }
        for (_, front) in FRONTS {
            self.at(front).grid(["distributor", "order", "--tier", "2", "lab-x,lab-y,lab-z,tier2"]).ok();
        }
    }

    /// Registers a lab with all fronts, in this way from now on.
    #[track_caller]
    pub fn register(&self, (name, host): (&str, &str), how: &[&str]) {
        let offers = format!("ssh:{host}");
        let mut line = vec!["distributor", "register", "--as", name, "--endpoint", &offers];
        let with = FRONTS.map(|(_, front)| format!("ssh:{front}"));
        line.extend(with.iter().flat_map(|with| ["--with", with]));
        line.extend(how);
        self.at(host).grid(line).ok();
    }
}
