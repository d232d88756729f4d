//! Builds the testbed's tagging programs.

fn main() -> anyhow::Result<()> {
    bpf_build::build(bpf_build::Program {
        package: "vlan-shim-ebpf",
        dir: "vlan-shim-ebpf",
        binary: "vlan-shim",
        features: &[],
    })
}
