//! libbpf's tools and the object: bpftool loads it, and shows keys and values of its maps by their types (BTF).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use border_gw::dataplane::bpf::object;
use border_gw_tests::netns::{output, remove_run, run_name};
use border_gw_tests::privileges::require_root;
use serde_json::{Value, json};

/// The object as bpftool loaded it; its pins go with this.
struct Loaded {
    run: String,
    pins: PathBuf,
}

impl Loaded {
    fn new() -> Self {
        let run = run_name();
        let loaded = Self { pins: Path::new("/sys/fs/bpf/border-gw").join(&run), run };
        let directory = Path::new("/run/border-gw").join(&loaded.run);
        for directory in [&directory, &loaded.pins] {
            fs::create_dir_all(directory).unwrap();
        }
        let file = directory.join("border-gw-xdp");
        fs::write(&file, object()).unwrap();
        let (file, pins) = (file.display(), loaded.pins.display());
        bpftool(&format!("prog loadall {file} {pins}/programs pinmaps {pins}/maps"));
        loaded
    }

    fn names(&self, what: &str) -> Vec<String> {
        let entries = fs::read_dir(self.pins.join(what)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    fn map(&self, name: &str) -> String {
        format!("pinned {}/maps/{name}", self.pins.display())
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        remove_run(&self.run);
    }
}

fn bpftool(line: &str) -> String {
    output(Command::new("bpftool").args(line.split(' '))).unwrap()
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(&bpftool(&format!("--json {line}"))).unwrap()
}

#[test]
fn bpftool_loads_the_object_and_shows_its_maps_by_their_types() {
    require_root();
    let loaded = Loaded::new();
    let programs = ["error", "fabric", "host", "line", "lost_redirect", "lost_transmit"];
    assert_eq!(loaded.names("programs"), programs);
    let maps = loaded.names("maps");
    for name in ["FIB_V4", "NEXT_HOPS", "TALLIES", "VIFS"] {
        assert!(maps.iter().any(|map| map == name), "{name} is not in {maps:?}");
    }

    let key = "07 00 00 00 81 00 64 00 00 00 00 00";
    bpftool(&format!("map update {} key hex {key} value hex 05 00 00 00", loaded.map("VIF_BY_TAG")));
    let entries = parsed(&format!("map dump {}", loaded.map("VIF_BY_TAG")));
    assert_eq!(
        entries[0]["formatted"],
        json!({
            "key": {"ifindex": 7, "tpid": {"__0": [0x81, 0]}, "outer": 100, "inner": 0, "reserved": 0},
            "value": 5,
        })
    );
    let types = bpftool(&format!("btf dump map {} kv", loaded.map("VIF_BY_TAG")));
    assert!(types.contains("STRUCT 'VifKey' size=12"), "{types}");

    let line = parsed(&format!("prog show pinned {}/programs/line", loaded.pins.display()));
    assert!(line["btf_id"].as_u64().is_some_and(|id| id != 0), "{line}");
}
