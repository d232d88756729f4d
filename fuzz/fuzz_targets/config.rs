//! The configuration: any text. It is an intent, or an error that says where.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

/// A file of this process's own, in memory.
static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| PathBuf::from(format!("/dev/shm/border-gw-fuzz-{}.yaml", std::process::id())));

libfuzzer_sys::fuzz_target!(|text: &str| {
    // It reads no other file: what stands there is not the fuzzer's.
    if ["include", "_file"].iter().any(|key| text.contains(key)) || fs::write(&*FILE, text).is_err() {
        return;
    }
    match border_gw::intent::load(&FILE) {
        Ok(intent) => assert!(!intent.gateway.name.is_empty()),
        Err(errors) => assert!(errors.to_string().contains("border-gw-fuzz"), "{errors}"),
    }
});
