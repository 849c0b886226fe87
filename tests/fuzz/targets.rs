//! Functions that take bytes of others in, each with what must hold whatever the bytes are. `fuzz/` calls them with bytes that it
//! makes up, `tests/fuzz.rs` with those in `fixtures/fuzz/`.

use grid::agent::journal::Reader;
use grid::archive::root::Root;
use grid::archive::unpack::{room_for, unpack};
use grid::link::bootstrap::{Binary, Bootstrap};
use grid::link::trouble::Trouble;
use grid::matching::{ExpressionRole, Fleet, Placement, Query, Waiting};
use grid::model::attribute::{Attribute, Attributes, Source, Value};
use grid::model::client::Client;
use grid::model::demand::Demand;
use grid::model::id::{ClientId, DistributorId, HostId, ServerId, UserId};
use grid::model::resources::Bytes;
use grid::model::server::{Engine, Health, Pool, Server, Taken};
use grid::model::ssh::SshTarget;
use grid::model::time::Timestamp;
use grid::model::user::User;
use grid::ops::cron::table::Crontab;
use grid::ops::inventory;
use grid::protocol::border::Message;
use grid::protocol::envelope::Sealed;
use grid::protocol::frame::{self, Inbox};
use grid::protocol::{agent, dispatcher, distributor, seal, supervisor};
use serde::Serialize;
use std::fs::File;
use std::io::Write;

/// A function that takes bytes in.
pub type Target = fn(&[u8]);

/// All of them, by the name of their folder in `fixtures/fuzz/`.
pub const TARGETS: [(&str, Target); 8] = [
    ("archive", take_archive),
    ("bootstrap", take_answers),
    ("crontab", take_crontab),
    ("expression", take_expression),
    ("frame", take_frames),
    ("inventory", take_inventory),
    ("journal", take_journal),
    ("sealed", take_sealed),
];

/// A frame of each kind of message. The first byte says of which; 255: all kinds.
fn take_frames(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let kinds: [Target; 8] = [
        messages::<agent::ToAgent>,
        messages::<agent::FromAgent>,
        messages::<dispatcher::ToDispatcher>,
        messages::<dispatcher::FromDispatcher>,
        messages::<distributor::ToServe>,
        messages::<distributor::FromServe>,
        messages::<supervisor::ToSupervisor>,
        messages::<supervisor::FromSupervisor>,
    ];
    match kind {
        255 => kinds.iter().for_each(|take| take(bytes)),
        kind => kinds[usize::from(*kind) % kinds.len()](bytes),
    }
}

/// What is taken in is passed on, and is the same there.
fn messages<M: Message + Serialize>(bytes: &[u8]) {
    let mut inbox = Inbox::default();
    let mut from = bytes;
    while matches!(inbox.fill(&mut from), Ok(Some(1..))) {
        while let Ok(Some(message)) = inbox.next::<M>() {
            let mut once = Vec::new();
            frame::encode(&message, &mut once).unwrap();
            let again: M = frame::read(&mut &once[..]).unwrap().unwrap();
            let mut twice = Vec::new();
            frame::encode(&again, &mut twice).unwrap();
            assert!(once == twice, "a message changes on its way");
        }
    }
    // The same bytes as one body, whatever length stands before it.
    let mut whole = u32::try_from(bytes.len()).unwrap().to_le_bytes().to_vec();
    whole.extend_from_slice(bytes);
    let _ = frame::read::<M>(&mut &whole[..]);
}

/// What a login says, in pieces, and then at its end.
fn take_answers(bytes: &[u8]) {
    let target = SshTarget::new("h1", Vec::new(), None).unwrap();
    let binary = Binary { arch: "x86_64".into(), file: "/dev/null".into(), size: 0, digest: "0".repeat(64) };
    let mut bootstrap = Bootstrap::new(&target, vec![binary], "0");
    let (mut came, mut looked) = (Vec::new(), 0);
    for piece in bytes.chunks(29) {
        came.extend_from_slice(piece);
        let heard = bootstrap.receive(&came, looked);
        let _ = bootstrap.flush(&mut std::io::sink());
        match heard {
            Ok(at) => looked = at,
            Err(trouble) => return drop(trouble.words("h1")),
        }
        assert!(looked <= came.len());
    }
    for code in [None, Some(0), Some(1), Some(127), Some(255)] {
        let trouble = Trouble::classify(&String::from_utf8_lossy(bytes), code, !bytes.is_empty());
        drop((trouble.words("h1"), trouble.remedy("h1"), trouble.of_grid(code)));
    }
}

/// An archive, unpacked into a directory of its own: nothing outside of it changes.
fn take_archive(bytes: &[u8]) {
    let archive = File::from(rustix::fs::memfd_create(c"archive", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
    (&archive).write_all(bytes).unwrap();
    let place = tempfile::Builder::new().prefix("grid-fuzz-").tempdir().unwrap();
    let into = place.path().join("into");
    std::fs::create_dir(&into).unwrap();
    if room_for(&archive).is_ok_and(|room| room < 1 << 20) {
        let _ = unpack(&archive, &Root::open(&into).unwrap());
    }
    let beside: Vec<_> = std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside, ["into"], "written beside its directory");
}

/// A sealed task; after a NUL byte and a mark, the lines of its array.
fn take_sealed(bytes: &[u8]) {
    const MARK: &[u8] = b"\0lines:";
    let at = bytes.windows(MARK.len()).position(|window| window == MARK);
    let (task, lines) = at.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + MARK.len()..]));
    let Ok(mut request) = seal::open(&Sealed::from_bytes(task.to_vec())) else { return };
    let (again, _) = seal::seal(&request).unwrap();
    // The lines travel apart.
    let opened = seal::open(&again).unwrap();
    assert!(opened.launch == request.launch && opened.demand == request.demand, "a task changes on its way");
    let _ = seal::open_list(&mut request, &Sealed::from_bytes(lines.to_vec()));
}

/// An expression, as a constraint and as a preference, against a server: the search and its reasons agree.
fn take_expression(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for role in [ExpressionRole::Constraint, ExpressionRole::Preference] {
        let mut demand = Demand::default();
        match role {
            ExpressionRole::Constraint => demand.constraint = Some(text.into()),
            _ => demand.prefer = Some(text.into()),
        }
        let Ok(query) = Query::new(&demand, &user(), &client()) else { continue };
        let fleet = Fleet::new(vec![server()], Placement::Spread);
        let best = fleet.best(&query, None);
        let verdicts = fleet.explain(&query, None, Timestamp(0));
        assert_eq!(verdicts.len(), 1);
        assert_eq!(best.is_some(), verdicts[0].qualifies, "{text:?}: {verdicts:?}");
        let _ = fleet.relaxations(&query, Waiting::default());
    }
}

fn attributes(values: Vec<(&str, Value)>) -> Attributes {
    let attribute = |value| Attribute { value, source: Source::Probed, read_at: Timestamp(0) };
    values.into_iter().map(|(name, value)| (name.into(), attribute(value))).collect()
}

fn user() -> User {
    User {
        id: UserId(1),
        name: "alice".parse().unwrap(),
        groups: vec!["staff".parse().unwrap()],
        share: 1,
        prefer: None,
        constraint: None,
        attributes: Attributes::new(),
    }
}

fn client() -> Client {
    Client {
        id: ClientId(1),
        host: "desk".into(),
        user: "alice".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        attributes: attributes(vec![("site", "brno".into())]),
    }
}

fn server() -> Server {
    Server {
        id: ServerId(1),
        name: "a".parse().unwrap(),
        distributor: DistributorId(1),
        distributor_name: "tier2".parse().unwrap(),
        engine: Engine::Local,
        health: Health::Up,
        drained: None,
        slots: 8,
        cpus: 8,
        mem: Bytes(16 << 30),
        taken: Taken::default(),
        max_load: None,
        accepts: None,
        kept_for: None,
        pool: Some(Pool {
            host: HostId(1),
            cpus: 8,
            mem_total: Bytes(16 << 30),
            mem_available: Bytes(12 << 30),
            taken: Taken::default(),
            started_since: 0,
            mem_since: 0,
            read_at: Timestamp(0),
        }),
        attributes: attributes(vec![
            ("cpus", 8.into()),
            ("load1", 0.5.into()),
            ("mem_available", (12i64 << 30).into()),
            ("os", "linux".into()),
            ("hostname", "n12.example".into()),
            ("site", "brno".into()),
        ]),
    }
}

/// A journal that somebody else wrote, read in two pieces.
fn take_journal(bytes: &[u8]) {
    let file = File::from(rustix::fs::memfd_create(c"journal", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    let mut pieces = Reader::default();
    (&file).write_all(first).unwrap();
    let mut records = pieces.new_records(&file).unwrap();
    (&file).write_all(rest).unwrap();
    records.extend(pieces.new_records(&file).unwrap());
    assert_eq!(records, Reader::default().new_records(&file).unwrap(), "what is read depends on when");
}

/// A crontab into which a block is put, and from which it is taken.
fn take_crontab(bytes: &[u8]) {
    let mut table = Crontab::from_bytes(bytes.to_vec());
    let before = table.of("grid");
    let lines = ["* * * * * true".to_owned()];
    table.put("grid", &lines);
    assert_eq!(table.of("grid").as_deref(), Some(&lines[..]), "what was put is there");
    assert!(!table.put("grid", &lines), "put twice it changes nothing");
    table.put("grid", &[]);
    let whole = bytes.is_empty() || bytes.ends_with(b"\n");
    assert!(before.is_some() || !whole || table.as_bytes() == bytes, "the rest stays as it was");
}

/// Lists of hosts: an ssh_config that includes itself, an Ansible inventory, names.
fn take_inventory(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // Only a short one, lest sixteen levels of includes take for ever.
    let read = |path: &std::path::Path| (path == std::path::Path::new("once")).then(|| "Host inner\n".to_owned());
    let list = |pattern: &str| (pattern.len() < 8).then(|| "once".into()).into_iter().collect();
    let found = inventory::ssh_config::parse(text, &read, &list);
    for host in found.hosts.into_iter().chain(inventory::names(text).hosts) {
        let _ = SshTarget::new(&host.host, host.options, None);
    }
    let _ = inventory::ansible::parse(text);
}
