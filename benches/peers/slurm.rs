//! Slurm: a controller, a node and munge of our own, tuned to schedule at once.

use crate::peer::{Outcome, Peer, Sandbox, first_line, program, run, text, with_environment};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

struct Slurm {
    dir: PathBuf,
    seen: usize,
}

pub fn find(sandbox: &Sandbox) -> Outcome<Option<Box<dyn Peer>>> {
    if ["sbatch", "slurmctld", "slurmd", "munged"].iter().any(|name| tool(name).is_none()) {
        return Ok(None);
    }
    let mut slurm = Slurm { dir: sandbox.sub("slurm")?, seen: 0 };
    slurm.configure()?;
    slurm.begin().inspect_err(|_| slurm.stop())?;
    Ok(Some(Box::new(slurm)))
}

/// Daemons lie where only root looks.
fn tool(name: &str) -> Option<PathBuf> {
    program(name).or_else(|| Some(PathBuf::from("/usr/sbin").join(name)).filter(|p| p.is_file()))
}

impl Slurm {
    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(tool(name).unwrap_or_else(|| name.into()));
        command.env("SLURM_CONF", self.dir.join("slurm.conf")).current_dir(&self.dir);
        command
    }

    fn configure(&self) -> Outcome<()> {
        let (host, user) = (first_line(&mut Command::new("hostname")), first_line(Command::new("id").arg("-un")));
        let at = self.dir.display();
        for name in ["state", "spool"] {
            std::fs::create_dir_all(self.dir.join(name))?;
        }
        std::fs::write(self.dir.join("key"), [7; 1024])?;
        run(Command::new("chmod").arg("600").arg(self.dir.join("key")))?;
        let conf = format!(
            "ClusterName=bench\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser={user}\nSlurmdUser={user}\n\
             AuthType=auth/munge\nAuthInfo=socket={at}/munge\nCredType=cred/munge\nSlurmctldPort=16817\nSlurmdPort=16818\n\
             StateSaveLocation={at}/state\nSlurmdSpoolDir={at}/spool\nSlurmctldPidFile={at}/ctld.pid\nSlurmdPidFile={at}/slurmd.pid\n\
             SlurmctldLogFile={at}/ctld.log\nSlurmdLogFile={at}/slurmd.log\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n\
             SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nMpiDefault=none\nSwitchType=switch/none\nReturnToService=2\n\
             MaxJobCount=200000\nMaxArraySize=200001\nMinJobAge=36000\nJobCompType=jobcomp/filetxt\nJobCompLoc={at}/ended\n\
             JobAcctGatherType=jobacct_gather/none\nSchedulerType=sched/backfill\n\
             SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,default_queue_depth=100\n\
             NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN\nPartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
        );
        Ok(std::fs::write(self.dir.join("slurm.conf"), conf)?)
    }

    fn begin(&mut self) -> Outcome<()> {
        let at = |name: &str| self.dir.join(name).display().to_string();
        let munged = [
            "--force".to_owned(),
            format!("--socket={}", at("munge")),
            format!("--key-file={}", at("key")),
            format!("--pid-file={}", at("munge.pid")),
            format!("--seed-file={}", at("munge.seed")),
            format!("--log-file={}", at("munge.log")),
        ];
        run(self.tool("munged").args(munged))?;
        run(self.tool("slurmctld").arg("-c"))?;
        run(&mut self.tool("slurmd"))?;
        let began = Instant::now();
        while !text(self.tool("sinfo").args(["-h", "-o", "%t"])).is_ok_and(|state| state == "idle") {
            if began.elapsed() > Duration::from_secs(30) {
                return Err("its node does not come up".into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn sbatch(&self, more: &[&str], command: &[&str]) -> Outcome<String> {
        let quoted: Vec<String> = command.iter().map(|word| format!("'{word}'")).collect();
        text(self.tool("sbatch").args(["--parsable", "-c1"]).args(more).arg("--wrap").arg(quoted.join(" ")))
    }

    /// Jobs that ended, by its own log.
    fn ended(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.dir.join("ended")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

impl Peer for Slurm {
    fn name(&self) -> &'static str {
        "slurm"
    }

    fn version(&self) -> String {
        format!("{}, tuned to schedule at once", first_line(self.tool("sbatch").arg("--version")))
    }

    fn submit(&mut self, command: &[&str]) -> Outcome<Option<()>> {
        self.sbatch(&[], command).map(|_| Some(()))
    }

    fn submit_and_wait(&mut self) -> Outcome<Option<()>> {
        self.sbatch(&["--wait"], &["true"]).map(|_| Some(()))
    }

    fn array(&mut self, size: usize) -> Outcome<Option<usize>> {
        let array = format!("--array=1-{size}");
        self.seen = self.ended().len();
        self.sbatch(&["--wait", &array], &["true"])?;
        self.settle()
    }

    fn settle(&mut self) -> Outcome<Option<usize>> {
        while !text(self.tool("squeue").args(["-h", "-o", "%i"]))?.is_empty() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let ended = self.ended();
        let new = ended[self.seen.min(ended.len())..].iter().filter(|line| line.contains("JobState=COMPLETED")).count();
        self.seen = ended.len();
        Ok(Some(new))
    }

    fn list(&mut self) -> Outcome<Option<()>> {
        run(&mut self.tool("squeue")).map(|_| Some(()))
    }

    fn fill(&mut self, size: usize) -> Outcome<Option<usize>> {
        self.settle()?;
        self.sbatch(&["--array=1-2"], &["sleep", "100000"])?;
        self.sbatch(&[&format!("--array=1-{size}")], &["true"])?;
        Ok(Some(size))
    }

    fn empty(&mut self) -> Outcome<()> {
        run(self.tool("scancel").args(["--user", &first_line(Command::new("id").arg("-un"))]))?;
        self.settle().map(|_| ())
    }

    fn proof(&mut self, tasks: usize) -> Outcome<Option<()>> {
        self.settle()?;
        let output = format!("--output={}/proof.%a", self.dir.display());
        let array = format!("--array=0-{}", tasks - 1);
        let script = "echo $SLURM_ARRAY_TASK_ID; exit $((SLURM_ARRAY_TASK_ID % 10))";
        let id = text(self.tool("sbatch").args(["--parsable", "-c1", &array, &output, "--wrap", script]))?;
        self.settle()?;
        for n in 0..tasks {
            let shown = text(self.tool("scontrol").args(["show", "job", &format!("{id}_{n}")]))?;
            let printed = std::fs::read_to_string(self.dir.join(format!("proof.{n}")))?;
            if !shown.contains(&format!("ExitCode={}:0", n % 10)) || printed.trim() != n.to_string() {
                return Err(format!("task {n} printed {printed:?}").into());
            }
        }
        Ok(Some(()))
    }

    fn patience(&self) -> usize {
        30
    }

    fn processes(&self) -> Vec<u32> {
        with_environment(&format!("SLURM_CONF={}", self.dir.display()))
    }

    fn stop(&mut self) {
        crate::spoolers::end(&self.processes());
    }
}
