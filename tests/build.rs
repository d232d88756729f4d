//! Builds the testbed's tagging programs.

fn main() -> anyhow::Result<()> {
    bpf_build::build("vlan-shim-ebpf", "vlan-shim-ebpf", &[])
}
