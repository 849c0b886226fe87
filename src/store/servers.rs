//! Server rows and the hosts under them.

use super::apps::AppRows;
use super::attributes::Owner;
use super::columns::{as_near_as_can_be, at_least_none, json};
use super::reading::{Lenient, is_of_the_row, readable, words};
use super::{Result, View};
use crate::model::attribute::{Attribute, Attributes, Source, Value, is_built_in};
use crate::model::facts::Gpu;
use crate::model::id::{BootId, DistributorId, HostId, ServerId, TaskId};
use crate::model::name::Name;
use crate::model::resources::Bytes;
use crate::model::server::{Engine, Health, Pool, Server, Taken};
use crate::model::ssh::SshTarget;
use crate::model::time::Timestamp;
use std::collections::{BTreeMap, HashMap};

pub(super) struct Row {
    server: Server,
    declared_at: Timestamp,
    boot: Option<BootId>,
    host: Option<HostRow>,
    declared: (Option<u32>, Option<u32>, Option<Bytes>),
}

pub(super) struct HostRow {
    hostname: String,
    os: String,
    arch: String,
    kernel: String,
    power: f64,
    load1: f64,
    idle_cpus: f64,
    disk_free: Bytes,
    gpus: Vec<Gpu>,
    cpus: u32,
}

pub(super) const SELECT: &str = "
    SELECT s.id, s.name, s.distributor_id, d.name, s.engine, s.address, s.health, s.error, s.since, s.drained,
           s.slots, s.cpus, s.mem, s.max_load, s.accepts, s.declared_at, s.taken_slots, s.taken_cpus, s.taken_mem, s.kept_for,
           h.id, h.boot_id, h.hostname, h.os, h.arch, h.kernel, h.cpus, h.power, h.load1, h.idle_cpus, h.mem_total, h.mem_available,
           h.disk_free, h.gpus, h.read_at, h.taken_cpus, h.taken_mem, h.started_since, h.mem_since, s.ssh_options, s.remote_dir,
           s.ssh_command, (SELECT max(o.cpus) FROM server o WHERE o.host_id = s.host_id)
    FROM server s JOIN distributor d ON d.id = s.distributor_id LEFT JOIN host h ON h.id = s.host_id ";

/// What was read of its host, if that was ever read.
pub(super) fn read_host(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<(HostRow, Pool, BootId)>> {
    let Some(host) = row.get::<_, Option<HostId>>(20)? else { return Ok(None) };
    // More than the host has may be declared: that many are to be used then.
    let most_declared: Option<u32> = row.get(42)?;
    let pool = Pool {
        host,
        cpus: row.get::<_, u32>(26)?.max(most_declared.unwrap_or(0)),
        mem_total: row.get(30)?,
        mem_available: row.get(31)?,
        read_at: row.get(34)?,
        taken: Taken { slots: 0, cpus: at_least_none(row, 35)?, mem: row.get(36)? },
        started_since: as_near_as_can_be(row, 37)?,
        mem_since: row.get(38)?,
    };
    let host = HostRow {
        hostname: row.get(22)?,
        os: row.get(23)?,
        arch: row.get(24)?,
        kernel: row.get(25)?,
        cpus: row.get(26)?,
        power: row.get(27)?,
        load1: row.get(28)?,
        idle_cpus: row.get(29)?,
        disk_free: row.get(32)?,
        gpus: json(&row.get::<_, String>(33)?)?,
    };
    Ok(Some((host, pool, row.get(21)?)))
}

pub(super) fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let engine: String = row.get(4)?;
    let engine = match engine.as_str() {
        "local" => Engine::Local,
        "ssh" => Engine::Ssh(read_target(row)?),
        _ => Engine::Group { members: Vec::new() },
    };
    let health: String = row.get(6)?;
    let health = match health.as_str() {
        "UP" => Health::Up,
        "DOWN" => Health::Down {
            error: row.get::<_, Option<String>>(7)?.unwrap_or_default(),
            since: row.get::<_, Option<Timestamp>>(8)?.unwrap_or(Timestamp(0)),
        },
        _ => Health::Unknown,
    };
    let declared: (Option<u32>, Option<u32>, Option<Bytes>) = (row.get(10)?, row.get(11)?, row.get(12)?);
    let (host, pool, boot) = match read_host(row) {
        // As if it had never been read: the next reading writes it anew.
        Err(error) if is_of_the_row(&error) => (None, None, None),
        other => match other? {
            Some((host, pool, boot)) => (Some(host), Some(pool), Some(boot)),
            None => (None, None, None),
        },
    };
    let host_cpus = host.as_ref().map_or(0, |host| host.cpus);
    let host_mem = pool.as_ref().map_or(Bytes(0), |p| p.mem_total);
    let cpus = declared.1.unwrap_or(host_cpus);
    let server = Server {
        id: row.get(0)?,
        name: row.get(1)?,
        distributor: row.get(2)?,
        distributor_name: row.get(3)?,
        engine,
        health,
        drained: row.get(9)?,
        slots: declared.0.unwrap_or(cpus),
        cpus,
        mem: declared.2.unwrap_or(host_mem),
        taken: Taken { slots: at_least_none(row, 16)?, cpus: at_least_none(row, 17)?, mem: row.get(18)? },
        max_load: row.get(13)?,
        accepts: row.get(14)?,
        kept_for: row.get::<_, Option<TaskId>>(19)?,
        pool,
        attributes: Attributes::new(),
    };
    Ok(Row { server, declared_at: row.get(15)?, boot, host, declared })
}

fn read_target(row: &rusqlite::Row<'_>) -> rusqlite::Result<SshTarget> {
    let host: Option<String> = row.get(5)?;
    let options = json(&row.get::<_, String>(39)?)?;
    let command = row.get(41)?;
    SshTarget::new(&host.unwrap_or_default(), options, row.get(40)?)
        .map(|target| target.by(command))
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(5, rusqlite::types::Type::Text, error.into()))
}

/// A server whose row can't be read: it takes no tasks, has no engine, and is reported as unreadable.
fn read_or_down(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let error = match read_row(row) {
        Err(error) if is_of_the_row(&error) => error,
        other => return other,
    };
    let mut of = Lenient::of(row);
    let why = format!("its row can't be read ({}): `grid doctor`", words(&error));
    let server = Server {
        id: row.get(0)?,
        name: of.or(1, Name::unreadable()),
        distributor: row.get(2)?,
        distributor_name: of.or(3, Name::unreadable()),
        engine: Engine::Group { members: Vec::new() },
        health: Health::Down { error: why, since: of.or(8, Timestamp(0)) },
        drained: of.get(9),
        slots: 0,
        cpus: 0,
        mem: Bytes(0),
        taken: Taken::default(),
        max_load: None,
        accepts: Some("false".to_owned()),
        kept_for: None,
        pool: None,
        attributes: Attributes::new(),
    };
    let declared = (Some(0), Some(0), Some(Bytes(0)));
    Ok(Row { server, declared_at: Timestamp(0), boot: None, host: None, declared })
}

impl View<'_> {
    /// All servers of this home, groups with what their members add up to.
    pub fn servers(&self) -> Result<Vec<Server>> {
        self.load(&format!("{SELECT} ORDER BY s.name"), [])
    }

    /// All servers without their attributes, for a line about each: collecting attributes is most of the work.
    pub fn servers_in_short(&self) -> Result<Vec<Server>> {
        self.load_as(&format!("{SELECT} ORDER BY s.name"), [], false)
    }

    /// The servers of one distributor.
    pub fn servers_of(&self, distributor: DistributorId) -> Result<Vec<Server>> {
        self.load(&format!("{SELECT} WHERE s.distributor_id = ?1 ORDER BY s.name"), [distributor])
    }

    /// Servers that changed after a point in the count of changes.
    pub fn servers_changed(&self, since: i64) -> Result<Vec<Server>> {
        self.load(&format!("{SELECT} WHERE s.changed > ?1 ORDER BY s.name"), [since])
    }

    /// One by name.
    pub fn server(&self, name: &str) -> Result<Option<Server>> {
        Ok(self.load(&format!("{SELECT} WHERE s.name = ?1"), [name])?.pop())
    }

    /// One by id.
    pub fn server_by_id(&self, id: ServerId) -> Result<Option<Server>> {
        Ok(self.load(&format!("{SELECT} WHERE s.id = ?1"), [id])?.pop())
    }

    /// The name of a server row, also of one that is gone.
    pub fn server_name(&self, id: ServerId) -> Result<Option<Name>> {
        readable(self.one(
            "SELECT name FROM server WHERE id = ?1 UNION ALL SELECT name FROM former_server WHERE id = ?1",
            [id],
            |row| row.get(0),
        ))
    }

    /// All servers by name, each with its distributor's.
    pub fn server_names(&self) -> Result<Vec<(String, String)>> {
        self.all_readable(
            "SELECT d.name, s.name FROM server s JOIN distributor d ON d.id = s.distributor_id ORDER BY s.name",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// The boot id under which the host of a server was read last.
    pub fn server_boot(&self, id: ServerId) -> Result<Option<BootId>> {
        self.one("SELECT h.boot_id FROM server s JOIN host h ON h.id = s.host_id WHERE s.id = ?1", [id], |row| {
            row.get(0)
        })
    }

    /// When it was heard of last.
    pub fn contacted_at(&self, id: ServerId) -> Result<Option<Timestamp>> {
        Ok(self.one("SELECT contacted_at FROM server WHERE id = ?1", [id], |row| row.get(0))?.flatten())
    }

    /// The shell lines whose environment tasks get there.
    pub fn prologue(&self, id: ServerId) -> Result<Option<String>> {
        Ok(self.one("SELECT prologue FROM server WHERE id = ?1", [id], |row| row.get(0))?.flatten())
    }

    /// When something was declared of it last.
    pub fn declared_at(&self, id: ServerId) -> Result<Timestamp> {
        let at = self.one("SELECT declared_at FROM server WHERE id = ?1", [id], |row| row.get(0))?;
        Ok(at.unwrap_or(Timestamp(0)))
    }

    /// How many there are.
    pub fn count_servers(&self) -> Result<usize> {
        Ok(self.one("SELECT count(*) FROM server", [], |row| row.get(0))?.unwrap_or(0))
    }

    /// Ids of all servers, to notice removed ones.
    pub fn server_ids(&self) -> Result<Vec<ServerId>> {
        self.all("SELECT id FROM server", [], |row| row.get(0))
    }

    /// How many tasks have outputs or files on a server alone.
    pub fn kept_on(&self, id: ServerId) -> Result<u32> {
        let found = self.one(
            "SELECT count(*) FROM (
                 SELECT m.task_id FROM member m LEFT JOIN fetched f ON f.task_id = m.task_id AND f.idx = m.idx
                 WHERE (m.server_id = ?1 OR m.host_id = ?1) AND (m.home_out = 2 OR f.error IS NOT NULL)
                 UNION SELECT task_id FROM attempt WHERE (server_id = ?1 OR host_id = ?1) AND home_out = 2)",
            [id],
            |row| row.get(0),
        )?;
        Ok(found.unwrap_or(0))
    }

    fn load(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Server>> {
        self.load_as(sql, params, true)
    }

    fn load_as(&self, sql: &str, params: impl rusqlite::Params, whole: bool) -> Result<Vec<Server>> {
        let rows = self.all(sql, params, read_or_down)?;
        let few = rows.len() <= 16;
        let mut members: HashMap<ServerId, Vec<ServerId>> = HashMap::new();
        for (group, member) in
            self.all("SELECT group_id, member_id FROM group_member ORDER BY group_id, position", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
        {
            members.entry(group).or_default().push(member);
        }
        let (mut apps, mut attributes) =
            if few || !whole { Default::default() } else { (self.all_apps()?, self.attributes_of_all("server")?) };
        let mut servers = Vec::with_capacity(rows.len());
        for row in rows {
            if !whole {
                servers.push(row.server);
                continue;
            }
            let id = row.server.id;
            let apps = if few { self.apps(id)? } else { apps.remove(&id).unwrap_or_default() };
            let open =
                if few { self.attributes(Owner::Server(id.0))? } else { attributes.remove(&id.0).unwrap_or_default() };
            servers.push(complete(row, &apps, open));
        }
        for at in 0..servers.len() {
            if let Engine::Group { .. } = servers[at].engine {
                let ids = members.remove(&servers[at].id).unwrap_or_default();
                let mut parts = Vec::with_capacity(ids.len());
                for id in &ids {
                    match servers.iter().find(|s| s.id == *id) {
                        Some(member) => parts.push(member.clone()),
                        None => parts.extend(self.load(&format!("{SELECT} WHERE s.id = ?1"), [id])?),
                    }
                }
                let group = &mut servers[at];
                group.engine = Engine::Group { members: ids };
                super::groups::add_up(group, &parts);
            }
        }
        Ok(servers)
    }
}

/// Puts the built-in attributes beside the open ones.
fn complete(row: Row, apps: &AppRows, open: Attributes) -> Server {
    let Row { mut server, declared_at, boot, host, declared } = row;
    let mut all = Attributes::new();
    let mut put = |name: &str, value: Value, source, read_at| {
        all.insert(name.into(), Attribute { value, source, read_at });
    };
    if let (Some(host), Some(pool)) = (&host, &server.pool) {
        let at = pool.read_at;
        let probed = Source::Probed;
        let share = f64::from(server.cpus.min(host.cpus)) / f64::from(host.cpus.max(1));
        put("load1", host.load1.into(), probed, at);
        put("idle_cpus", host.idle_cpus.min(f64::from(server.cpus)).into(), probed, at);
        put("power", (host.power * share).into(), probed, at);
        put("mem_available", size(pool.mem_available), probed, at);
        put("disk_free", size(host.disk_free), probed, at);
        put("gpus", Value::Int(i64::try_from(host.gpus.len()).unwrap_or(0)), probed, at);
        for (name, value) in
            [("os", &host.os), ("arch", &host.arch), ("kernel", &host.kernel), ("hostname", &host.hostname)]
        {
            put(name, Value::Text(value.as_str().into()), probed, at);
        }
        if let Some(boot) = &boot {
            put("boot_id", Value::Text(boot.0.as_str().into()), probed, at);
        }
    }
    let of_host = |was_declared: bool| match &server.pool {
        Some(pool) if !was_declared => (Source::Probed, pool.read_at),
        _ => (Source::Declared, declared_at),
    };
    if server.pool.is_some() || declared.0.is_some() {
        let (source, at) = of_host(declared.0.is_some() || declared.1.is_some());
        put("slots", Value::Int(server.slots.into()), source, at);
    }
    if server.pool.is_some() || declared.1.is_some() {
        let (source, at) = of_host(declared.1.is_some());
        put("cpus", Value::Int(server.cpus.into()), source, at);
    }
    if server.pool.is_some() || declared.2.is_some() {
        let (source, at) = of_host(declared.2.is_some());
        put("mem_total", size(server.mem), source, at);
    }
    if let Some(max_load) = server.max_load {
        put("max_load", max_load.into(), Source::Declared, declared_at);
    }
    let mut names: Vec<&str> = Vec::new();
    let mut versions = BTreeMap::new();
    // Where some were found and some declared, the list is that of the last reading; `declared_apps` tells the others.
    let declared = |source: &Source| *source == Source::Declared;
    let all_declared = !apps.is_empty() && apps.iter().all(|(.., source, _)| declared(source));
    let declared_at = apps.iter().filter(|_| all_declared).map(|(.., at)| *at).max();
    let (source, at) = declared_at.map_or_else(|| of_host(false), |at| (Source::Declared, at));
    for (name, version, ..) in apps {
        if !names.contains(&name.as_str()) {
            names.push(name.as_str());
        }
        if let Some(version) = version {
            // Declared rows come last and win.
            versions.entry(name.as_str().into()).or_insert_with(|| Value::Text(version.as_str().into()));
        }
    }
    put("apps", Value::texts(names), source, at);
    put("app_version", Value::Map(versions), source, at);
    // What is declared under the name of something measured is believed; a probe script replaces nothing.
    all.extend(open.into_iter().filter(|(name, of)| of.source != Source::Probed || !is_built_in(name)));
    server.attributes = all;
    server
}

fn size(bytes: Bytes) -> Value {
    Value::Int(i64::try_from(bytes.0).unwrap_or(i64::MAX))
}
