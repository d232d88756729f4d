//! Builds the packet path's programs.

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-changed=../border-gw-common/src");
    let log = std::env::var_os("CARGO_FEATURE_LOG").is_some();
    bpf_build::build(bpf_build::Program {
        package: "border-gw-ebpf",
        dir: "../border-gw-ebpf",
        binary: "border-gw-xdp",
        features: if log { &["log"] } else { &[] },
    })
}
