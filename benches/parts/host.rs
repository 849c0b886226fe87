//! Reading this host's facts, as an agent does before and after tasks. The first reading takes 100 ms to measure idle
//! processors, and a second for the score, which is kept; these are the later ones.

use divan::Bencher;
use grid::agent::facts::Host;
use grid::agent::probe::ProbeRequest;
use grid::model::ambient::System;
use grid::model::id::BootId;
use grid::model::settings::WATCH;

#[divan::bench]
fn facts_without_applications(bencher: Bencher) {
    read(bencher, &[]);
}

#[divan::bench]
fn facts_with_the_watch_list(bencher: Bencher) {
    read(bencher, &WATCH.value(None));
}

fn read(bencher: Bencher, watch: &[String]) {
    let question = ProbeRequest { watch: watch.to_vec(), ..ProbeRequest::default() };
    let spool = tempfile::tempdir().expect("a directory");
    let mut host = Host::new(spool.path(), BootId("boot".into()));
    host.read(&question, &System);
    bencher.bench_local(|| crate::counted::counted(|| host.read(&question, &System)));
}
