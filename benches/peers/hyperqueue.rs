//! HyperQueue through its Python package: the same server and worker as `hq`, without the cost of starting `hq` for each submit.

use crate::peer::{Outcome, Peer, Sandbox, first_line, setup_dir};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

struct HyperQueue {
    dir: PathBuf,
    python: PathBuf,
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

pub fn find(sandbox: &Sandbox) -> Outcome<Option<Box<dyn Peer>>> {
    let python = setup_dir().join("hyperqueue/bin/python");
    if !python.is_file() {
        return Ok(None);
    }
    Ok(Some(Box::new(HyperQueue::begin(sandbox.sub("hyperqueue")?, python)?)))
}

impl HyperQueue {
    fn begin(dir: PathBuf, python: PathBuf) -> Outcome<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/hq_server.py");
        let mut child = Command::new(&python)
            .arg(script)
            .env("HQ_BENCH_DIR", &dir)
            .current_dir(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let orders = child.stdin.take().ok_or("no stdin")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let mut hq = Self { dir, python, child, orders, answers };
        hq.answer()?;
        Ok(hq)
    }

    fn answer(&mut self) -> Outcome<Value> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err("its server is gone".into());
        }
        Ok(serde_json::from_str(&line)?)
    }

    fn ask(&mut self, order: Value) -> Outcome<usize> {
        writeln!(self.orders, "{order}")?;
        Ok(self.answer()?.as_u64().unwrap_or(0) as usize)
    }
}

impl Peer for HyperQueue {
    fn name(&self) -> &'static str {
        "hyperqueue"
    }

    fn version(&self) -> String {
        let shown = "import importlib.metadata as m; print(m.version('hyperqueue'), 'by its Python package, no process for a submit')";
        first_line(Command::new(&self.python).args(["-c", shown]))
    }

    fn submit(&mut self, command: &[&str]) -> Outcome<Option<()>> {
        self.ask(json!(["submit", command])).map(|_| Some(()))
    }

    fn submit_and_wait(&mut self) -> Outcome<Option<()>> {
        self.ask(json!(["array", 1])).map(|_| Some(()))
    }

    fn array(&mut self, size: usize) -> Outcome<Option<usize>> {
        self.ask(json!(["array", size])).map(Some)
    }

    fn settle(&mut self) -> Outcome<Option<usize>> {
        self.ask(json!(["wait"])).map(Some)
    }

    fn fill(&mut self, size: usize) -> Outcome<Option<usize>> {
        self.ask(json!(["fill", size])).map(Some)
    }

    fn empty(&mut self) -> Outcome<()> {
        self.stop();
        *self = Self::begin(self.dir.clone(), self.python.clone())?;
        Ok(())
    }

    fn proof(&mut self, tasks: usize) -> Outcome<Option<()>> {
        writeln!(self.orders, "{}", json!(["proof", tasks]))?;
        if self.answer()? == Value::Bool(true) { Ok(Some(())) } else { Err("an output or a code is wrong".into()) }
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.child.id()]
    }

    fn stop(&mut self) {
        crate::spoolers::end(&crate::peer::with_environment(&format!("HQ_BENCH_DIR={}", self.dir.display())));
        let _ = self.child.wait();
    }
}
