//! The tables of the packet path, in the kernel: each row runs on the host and, by `BPF_PROG_TEST_RUN`, as the loaded
//! program over BPF maps with the same contents. Both come to the same verdict, bytes, counts and charges.
#![expect(clippy::unwrap_used, reason = "a test that fails here fails")]
#![expect(clippy::too_many_lines, reason = "a table is as long as it has rows")]

#[path = "../../border-gw-ebpf/tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests of the path that are not here use more")]
mod support;

// Not the caps, which need a clock that stands still, nor what runs millions of packets.
#[path = "../../border-gw-ebpf/tests/path/answers.rs"]
mod answers;
#[path = "../../border-gw-ebpf/tests/path/attacks.rs"]
mod attacks;
#[path = "../../border-gw-ebpf/tests/path/dscp.rs"]
mod dscp;
#[path = "../../border-gw-ebpf/tests/path/errors.rs"]
mod errors;
#[path = "../../border-gw-ebpf/tests/path/fabric.rs"]
mod fabric;
#[path = "../../border-gw-ebpf/tests/path/flows.rs"]
mod flows;
#[path = "../../border-gw-ebpf/tests/path/host.rs"]
mod host;
#[path = "../../border-gw-ebpf/tests/path/limits.rs"]
mod limits;
#[path = "../../border-gw-ebpf/tests/path/line.rs"]
mod line;
#[path = "../../border-gw-ebpf/tests/path/mss.rs"]
mod mss;
#[path = "../../border-gw-ebpf/tests/path/notes.rs"]
mod notes;
#[path = "../../border-gw-ebpf/tests/path/options.rs"]
mod options;
#[path = "../../border-gw-ebpf/tests/path/precedence.rs"]
mod precedence;
#[path = "../../border-gw-ebpf/tests/path/punts.rs"]
mod punts;
#[path = "../../border-gw-ebpf/tests/path/silence.rs"]
mod silence;
#[path = "../../border-gw-ebpf/tests/path/sources.rs"]
mod sources;
#[path = "../../border-gw-ebpf/tests/path/too_big.rs"]
mod too_big;

#[path = "kernel/contents.rs"]
mod contents;
#[path = "kernel/fallback.rs"]
mod fallback;
#[path = "kernel/loaded.rs"]
#[expect(dead_code, reason = "the tests beside the model use more")]
mod loaded;
#[path = "kernel/witness.rs"]
mod witness;
