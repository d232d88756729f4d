//! What the tests may do.

/// Ends a test that was started without root: what was not tried must not count as passed.
///
/// # Panics
///
/// Without root.
pub fn require_root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test makes network namespaces and loads BPF programs, which takes root: run it as `sudo -E cargo xtask test`; \
         without root `cargo xtask test` skips and counts such tests"
    );
}
