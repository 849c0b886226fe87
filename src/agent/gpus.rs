//! Graphics processors, as the vendors' tools report them. A host without such a tool has none.

use super::tool::{self, on_path};
use crate::model::facts::Gpu;
use crate::model::resources::Bytes;
use std::collections::HashSet;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(5);
/// A GPU that is busier than this is in use, even if no process is listed.
const BUSY_PERCENT: f64 = 5.0;

/// All GPUs that can be read, and complaints about tools that do not answer.
pub fn read(complaints: &mut Vec<String>) -> Vec<Gpu> {
    let mut all = Vec::new();
    if let Some(tool) = on_path("nvidia-smi") {
        let query = |what: &str| tool::run(Command::new(&tool).args([what, "--format=csv,noheader,nounits"]), LIMIT);
        match query("--query-gpu=uuid,name,memory.total,memory.used,utilization.gpu") {
            Ok(text) => {
                let apps = query("--query-compute-apps=gpu_uuid,pid").unwrap_or_default();
                all.extend(parse_nvidia(&text, &apps));
            }
            Err(error) => complaints.push(error),
        }
    }
    if let Some(tool) = on_path("rocm-smi") {
        let options = ["--showproductname", "--showmeminfo", "vram", "--showuse", "--json"];
        match tool::run(Command::new(&tool).args(options), LIMIT) {
            Ok(text) => match parse_rocm(&text) {
                Some(gpus) => all.extend(gpus),
                None => complaints.push("rocm-smi: its output can't be read".to_owned()),
            },
            Err(error) => complaints.push(error),
        }
    }
    all
}

/// `uuid, name, MiB, MiB, percent` a line; the second text names the GPUs that processes compute on.
/// What a card does not report is `[N/A]` or `[Not Supported]`.
fn parse_nvidia(gpus: &str, apps: &str) -> Vec<Gpu> {
    let used: HashSet<&str> = apps.lines().filter_map(|line| line.split(',').next()).map(str::trim).collect();
    let gpu = |line: &str| {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [uuid, name, total, taken, busy] = fields[..] else { return None };
        let mib = |text: &str| text.parse::<u64>().map_or(0, |n| n << 20);
        let busy = busy.parse::<f64>().unwrap_or(0.0);
        Some(Gpu {
            model: name.to_owned(),
            memory: Bytes(mib(total)),
            memory_used: Bytes(mib(taken)),
            in_use: used.contains(uuid) || busy > BUSY_PERCENT,
        })
    };
    gpus.lines().filter_map(gpu).collect()
}

/// `{"card0": {"Card series": .., "VRAM Total Memory (B)": "..", ..}}`; the names of keys differ between releases.
fn parse_rocm(text: &str) -> Option<Vec<Gpu>> {
    // Warnings may stand before the object.
    let text = text.get(text.find('{')?..)?;
    let all: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let card = |(name, value): (&String, &serde_json::Value)| {
        let fields = value.as_object().filter(|_| name.starts_with("card"))?;
        let field = |names: &[&str]| {
            let found = names.iter().find_map(|wanted| fields.iter().find(|(k, _)| k.eq_ignore_ascii_case(wanted)));
            found.map(|(_, v)| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
        };
        let bytes = |names: &[&str]| field(names).and_then(|text| text.parse().ok()).unwrap_or(0);
        let model = field(&["Card series", "Card model", "Device Name"])?;
        let memory_used = bytes(&["VRAM Total Used Memory (B)"]);
        let busy = field(&["GPU use (%)"]).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        let memory = Bytes(bytes(&["VRAM Total Memory (B)"]));
        Some(Gpu { model, memory, memory_used: Bytes(memory_used), in_use: busy > BUSY_PERCENT })
    };
    Some(all.iter().filter_map(card).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nvidia_gpu_is_in_use_by_process_or_by_load() {
        let gpus = parse_nvidia(
            include_str!("../../fixtures/gpus/nvidia-query-gpu.csv"),
            include_str!("../../fixtures/gpus/nvidia-compute-apps.csv"),
        );
        let shown: Vec<_> = gpus.iter().map(|g| (g.model.as_str(), g.memory.0 >> 20, g.in_use)).collect();
        assert_eq!(
            shown,
            [
                ("NVIDIA GeForce RTX 3090", 24576, false),
                ("NVIDIA GeForce RTX 3090", 24576, true),
                ("Tesla K20c", 0, true)
            ]
        );
    }

    #[test]
    fn rocm_gpus_are_parsed_after_warnings() {
        let gpus = parse_rocm(include_str!("../../fixtures/gpus/rocm-smi.json")).unwrap();
        assert_eq!(gpus.len(), 2);
        assert_eq!((gpus[0].memory.0, gpus[0].in_use, gpus[1].in_use), (17_163_091_968, true, false));
        assert_eq!(parse_rocm("ERROR: no devices"), None);
    }
}
