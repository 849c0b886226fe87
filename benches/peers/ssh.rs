//! Over SSH: the same work on other hosts, by grid's standing links, by GNU parallel with ControlMaster, and by one ssh that
//! carries `xargs`. The connections stand before the clock runs, of all three.

use crate::hosts::Hosts;
use crate::peer::{Outcome, ended, run, text};
use crate::rows::{Row, Sample, Scale, median_of, rate};
use crate::table::Table;
use serde_json::Value;
use std::time::Instant;

/// How many hosts share the tasks.
const HOSTS: usize = 3;
/// From nothing to the first remote task, on so many.
const FRESH: [usize; 2] = [HOSTS, 20];
/// What people put into their ssh configuration so that logins are cheap.
const STANDING: &str = "ssh -o ControlMaster=auto -o ControlPath=~/.ssh/c-%C -o ControlPersist=600";
const PROOF: usize = 20;

/// How tasks get to other hosts.
trait Way {
    /// Whose column it is.
    fn peer(&self) -> &'static str;
    /// From now on the connections stand.
    fn open(&self, hosts: &Hosts) -> Outcome<()>;
    /// Runs so many no-ops, two at a time on each of these hosts; returns how many ran, by its own record.
    fn no_ops(&self, hosts: &Hosts, among: &[String], size: usize) -> Outcome<usize>;
    /// One no-op on the first host, until its end is known.
    fn one(&self, hosts: &Hosts) -> Outcome<()>;
    /// Tasks print their number and exit with its last digit; each must be found again with both. None: it keeps no such thing.
    fn proof(&self, _hosts: &Hosts) -> Outcome<Option<()>> {
        Ok(None)
    }
    /// At most so many no-ops.
    fn patience(&self) -> usize {
        usize::MAX
    }
}

/// Measures those of the ways whose peers are in the table.
pub fn measure(peers: &[&'static str], rounds: usize, scale: &Scale, table: &mut Table) -> Outcome<()> {
    let ways: [&dyn Way; 3] = [&Xargs, &Grid, &Parallel];
    let ways: Vec<(usize, &dyn Way)> =
        ways.into_iter().filter_map(|way| Some((peers.iter().position(|peer| *peer == way.peer())?, way))).collect();
    let program = crate::grid::built()?;
    let hosts = match Hosts::up(HOSTS, &program) {
        Ok(hosts) => hosts,
        Err(why) => {
            eprintln!("over ssh: skipped: {why}");
            return Ok(());
        }
    };
    for (_, way) in &ways {
        way.open(&hosts)?;
    }
    for round in 1..=rounds {
        eprintln!("over ssh, round {round} of {rounds}");
        for count in [1, HOSTS] {
            for (at, way) in &ways {
                table.add(&Row::Ssh { hosts: count }, *at, no_ops(*way, &hosts, count, scale.ssh));
            }
        }
        for (at, way) in &ways {
            let once = || {
                let began = Instant::now();
                way.one(&hosts).map(|()| Some(began.elapsed()))
            };
            table.add(&Row::SshEnd, *at, median_of(scale.submits, once));
        }
    }
    for (at, way) in &ways {
        let proof = way.proof(&hosts);
        table.add(&Row::SshProof, *at, proof.map(|p| p.map(|()| Sample { value: 1.0, note: Some("both".into()) })));
    }
    drop(hosts);
    if let Some(at) = peers.iter().position(|peer| *peer == Grid.peer()) {
        for _ in 0..rounds {
            for count in FRESH {
                table.add(&Row::Import { hosts: count }, at, from_nothing(&Hosts::up(count, &program)?).map(Some));
            }
        }
    }
    Ok(())
}

fn no_ops(way: &dyn Way, hosts: &Hosts, count: usize, full: usize) -> Outcome<Option<Sample>> {
    let size = full.min(way.patience());
    let began = Instant::now();
    let ran = way.no_ops(hosts, &hosts.names[..count], size)?;
    rate(ran, size, full, began.elapsed()).map(Some)
}

/// The two commands of README's page, on hosts that have never seen grid.
fn from_nothing(hosts: &Hosts) -> Outcome<Sample> {
    let began = Instant::now();
    run(&mut hosts.head(&["grid", "server", "import", "--yes"]))?;
    let imported = began.elapsed();
    let ran_on = text(&mut hosts.head(&["grid", "run", "-x", "local", "--", "uname", "-n"]))?;
    let took = began.elapsed();
    if !hosts.names.contains(&ran_on) {
        return Err(format!("the task ran on {ran_on:?}").into());
    }
    let note = format!("{:.0} of it import", imported.as_secs_f64() * 1e3);
    Ok(Sample { value: took.as_secs_f64() * 1e3, note: Some(note) })
}

struct Xargs;

impl Way for Xargs {
    fn peer(&self) -> &'static str {
        "xargs"
    }

    fn open(&self, hosts: &Hosts) -> Outcome<()> {
        hosts
            .names
            .iter()
            .try_for_each(|host| run(&mut hosts.head(&["sh", "-c", &format!("{STANDING} {host} true")])).map(drop))
    }

    fn no_ops(&self, hosts: &Hosts, among: &[String], size: usize) -> Outcome<usize> {
        let mut script = String::new();
        for (at, host) in among.iter().enumerate() {
            let part = size / among.len() + usize::from(at < size % among.len());
            script += &format!("seq {part} | {STANDING} {host} xargs -P2 -n1 true & all=\"$all $!\"\n");
        }
        // It says so with its exit code if one failed, and keeps no count.
        script += "for one in $all; do wait $one || exit; done";
        run(&mut hosts.head(&["sh", "-c", &script])).map(|_| size)
    }

    fn one(&self, hosts: &Hosts) -> Outcome<()> {
        run(&mut hosts.head(&["sh", "-c", &format!("exec {STANDING} {} true", hosts.names[0])])).map(drop)
    }
}

struct Grid;

impl Way for Grid {
    fn peer(&self) -> &'static str {
        "grid"
    }

    fn open(&self, hosts: &Hosts) -> Outcome<()> {
        for host in &hosts.names {
            run(&mut hosts.head(&["grid", "server", "add", host, "--ssh", host, "--slots", "2"]))?;
            run(&mut hosts.head(&["grid", "run", "-w", host, "--", "true"]))?;
        }
        run(&mut hosts.head(&["grid", "server", "drain", "local", "--reason", "the benchmark uses the others"]))
            .map(drop)
    }

    fn no_ops(&self, hosts: &Hosts, among: &[String], size: usize) -> Outcome<usize> {
        let (range, there) = (format!("1-{size}"), format!("server.name in {among:?}"));
        run(&mut hosts.head(&["grid", "submit", "--wait", "--array", &range, "-C", &there, "--", "true"]))?;
        let shown: Value = serde_json::from_str(&text(&mut hosts.head(&["grid", "show", "last", "--json"]))?)?;
        Ok(shown["counts"]["COMPLETED"].as_u64().unwrap_or(0) as usize)
    }

    fn one(&self, hosts: &Hosts) -> Outcome<()> {
        run(&mut hosts.head(&["grid", "submit", "--wait", "-w", &hosts.names[0], "--", "true"])).map(drop)
    }

    fn proof(&self, hosts: &Hosts) -> Outcome<Option<()>> {
        let (range, script) = (format!("0-{}", PROOF - 1), "echo $GRID_ARRAY_INDEX; exit $((GRID_ARRAY_INDEX % 10))");
        let id = text(&mut hosts.head(&["grid", "submit", "--parsable", "--array", &range, "--shell", script]))?;
        ended(&mut hosts.head(&["grid", "wait", &id]))?;
        for n in 0..PROOF {
            let member = format!("{id}.{n}");
            let shown: Value = serde_json::from_str(&text(&mut hosts.head(&["grid", "show", &member, "--json"]))?)?;
            let printed = text(&mut hosts.head(&["grid", "logs", &member]))?;
            if shown["exit_code"] != (n % 10) || printed != n.to_string() {
                return Err(format!("{member}: printed {printed:?}, ended with {}", shown["exit_code"]).into());
            }
        }
        Ok(Some(()))
    }
}

struct Parallel;

impl Parallel {
    /// Runs a command for each number; exit codes by number.
    fn go(&self, hosts: &Hosts, among: &[String], size: usize, command: &str) -> Outcome<Vec<(usize, usize)>> {
        let there = among.iter().map(|host| format!("2/{host}")).collect::<Vec<_>>().join(",");
        let script = "rm -rf results; seq 0 $(($1 - 1)) | parallel --will-cite --ssh \"$2\" -S \"$3\" --joblog log --results results \"$4\" >/dev/null; :";
        run(&mut hosts.head(&["sh", "-c", script, "sh", &size.to_string(), STANDING, &there, command]))?;
        crate::parallel::codes(&hosts.file("log"))
    }
}

impl Way for Parallel {
    fn peer(&self) -> &'static str {
        "parallel"
    }

    fn open(&self, hosts: &Hosts) -> Outcome<()> {
        Xargs.open(hosts)
    }

    fn no_ops(&self, hosts: &Hosts, among: &[String], size: usize) -> Outcome<usize> {
        Ok(self.go(hosts, among, size, "true {}")?.iter().filter(|(_, code)| *code == 0).count())
    }

    fn one(&self, hosts: &Hosts) -> Outcome<()> {
        self.no_ops(hosts, &hosts.names[..1], 1).map(drop)
    }

    fn proof(&self, hosts: &Hosts) -> Outcome<Option<()>> {
        let ended = self.go(hosts, &hosts.names, PROOF, "echo {}; exit $(({} % 10))")?;
        crate::parallel::check(&ended, PROOF, &hosts.file("results"))
    }

    fn patience(&self) -> usize {
        300
    }
}
