//! Builds the packet path's programs.

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-changed=../border-gw-common/src");
    let log = std::env::var_os("CARGO_FEATURE_LOG").is_some();
    bpf_build::build("border-gw-ebpf", "../border-gw-ebpf", if log { &["log"] } else { &[] })
}
