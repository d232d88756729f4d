//! Debian's kernels: fetched by apt, unpacked beside the build, never installed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::setup::step;
use crate::shell::{command, has, quietly, top};

/// What the packages are called: release between these.
const PACKAGE: (&str, &str) = ("linux-image-", "-amd64");
/// What the virtual machine needs to have its root, and then the tests: everything else is in the image.
const MODULES: [&str; 13] = [
    "virtio_pci",
    "9pnet_virtio",
    "9p",
    "overlay",
    "veth",
    "vxlan",
    "8021q",
    "bridge",
    "tun",
    "sch_ingress",
    "cls_bpf",
    "inet_diag",
    "tcp_diag",
];

/// A kernel that is unpacked.
pub(super) struct Kernel {
    /// As `uname -r` says it.
    pub(super) release: String,
    /// What is booted.
    pub(super) image: PathBuf,
    modules: PathBuf,
}

/// The newest kernel of a series, such as `6.1`, that apt has. What was unpacked once is taken as it is.
pub(super) fn unpacked(series: &str) -> anyhow::Result<Kernel> {
    let directory = top().join("target/vm").join(format!("linux-{series}"));
    if !directory.is_dir() {
        step(&format!("fetching Debian's Linux {series} (nothing is installed)"), || {
            fetch(series, &directory)
        })?;
    }
    let release = first_name(&directory.join("lib/modules"))?;
    Ok(Kernel {
        image: directory.join(format!("boot/vmlinuz-{release}")),
        modules: directory.join("lib/modules").join(&release),
        release,
    })
}

fn fetch(series: &str, directory: &Path) -> anyhow::Result<()> {
    if !has("apt-get") || !has("dpkg") {
        bail!("kernels are Debian's packages, and there is no apt-get or dpkg here: run this on Debian");
    }
    let search = || quietly(&mut command(&format!("apt-cache search --names-only ^linux-image-{series}")));
    let mut found = newest(&search()?, series);
    if found.is_none() {
        // Lists that are old or absent; without root, what is there must do.
        drop(quietly(&mut command("apt-get update")));
        found = newest(&search()?, series);
    }
    let Some(package) = found else {
        bail!(
            "apt knows no package linux-image-{series}.*-amd64: choose a kernel that this Debian has (`apt-cache search \
             linux-image`), or add the release that has it to apt's sources and run `apt-get update`"
        );
    };
    let partial = directory.with_extension("partial");
    drop(fs::remove_dir_all(&partial));
    fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
    quietly(command(&format!("apt-get download {package}")).current_dir(&partial)).with_context(|| {
        format!("cannot fetch {package}; if apt's lists are old, run `apt-get update` and this again")
    })?;
    let archive = partial.join(first_name(&partial)?);
    quietly(command("dpkg -x").arg(&archive).arg(&partial))?;
    fs::remove_file(&archive)?;
    fs::rename(&partial, directory).with_context(|| format!("cannot make {}", directory.display()))
}

/// The newest package of a series in what `apt-cache search` says, of the ordinary flavour.
fn newest(list: &str, series: &str) -> Option<String> {
    let release = |package: &str| {
        let release = package.strip_prefix(PACKAGE.0)?.strip_suffix(PACKAGE.1)?;
        // 6.1.0-56, 6.12.117+deb12; not 6.1.0-56-cloud, 6.1.0-56-rt, nor 6.12 alone, which names another package.
        let rest = release.strip_prefix(series)?.strip_prefix('.')?;
        let is_number = |part: &str| part.trim_start_matches("deb").bytes().all(|byte| byte.is_ascii_digit());
        let numbers = rest.split(['.', '-', '+', '~']);
        if !numbers.clone().all(is_number) {
            return None;
        }
        Some(numbers.map(|part| part.trim_start_matches("deb").parse().unwrap_or(0)).collect::<Vec<u32>>())
    };
    let packages = list.lines().filter_map(|line| line.split_whitespace().next());
    let known = packages.filter_map(|package| Some((release(package)?, package.to_owned())));
    known.max().map(|(_, package)| package)
}

fn first_name(directory: &Path) -> anyhow::Result<String> {
    let mut names = fs::read_dir(directory).with_context(|| {
        format!("cannot read {}; remove {} and run this again", directory.display(), "target/vm")
    })?;
    let first = names.next().with_context(|| format!("nothing is in {}", directory.display()))??;
    Ok(first.file_name().to_string_lossy().into_owned())
}

impl Kernel {
    /// The modules that are needed, each with its contents, in the order in which they can be loaded.
    pub(super) fn modules(&self) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        let mut files = BTreeMap::new();
        list(&self.modules.join("kernel"), &mut files)?;
        let built_in = fs::read_to_string(self.modules.join("modules.builtin"))?;
        let built_in: Vec<String> = built_in.lines().filter_map(|line| name(Path::new(line))).collect();
        let mut loaded = Vec::new();
        for module in MODULES {
            self.add(module, &files, &built_in, &mut loaded)?;
        }
        Ok(loaded)
    }

    fn add(
        &self,
        module: &str,
        files: &BTreeMap<String, PathBuf>,
        built_in: &[String],
        loaded: &mut Vec<(String, Vec<u8>)>,
    ) -> anyhow::Result<()> {
        if loaded.iter().any(|(name, _)| name == module) || built_in.iter().any(|name| name == module) {
            return Ok(());
        }
        let Some(file) = files.get(module) else {
            bail!("Linux {} has no module `{module}`, which the virtual machine needs", self.release);
        };
        let contents = read(file)?;
        for needed in depends(&contents) {
            self.add(&needed, files, built_in, loaded)?;
        }
        loaded.push((module.to_owned(), contents));
        Ok(())
    }
}

/// Every module below a directory, by name.
fn list(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else if let Some(name) = name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// Name of the module in a file: `cls_bpf` of `net/sched/cls_bpf.ko.xz`.
fn name(file: &Path) -> Option<String> {
    let (name, _) = file.file_name()?.to_str()?.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

/// A module's contents, unpacked.
fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file.extension().is_none_or(|ending| ending != "xz") {
        return fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    }
    let output = Command::new("xz").args(["--decompress", "--stdout"]).arg(file).output();
    let output = output.context("cannot start `xz`, which unpacks kernel modules: install xz-utils")?;
    if !output.status.success() {
        bail!("xz cannot unpack {}: {}", file.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

/// The modules that a module needs, as it says itself (`.modinfo`, include/linux/module.h).
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|bytes| bytes == KEY) else { return Vec::new() };
    let value = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_ordinary_kernel_of_a_series_is_taken() {
        let list = "linux-image-6.1.0-9-amd64 - Linux 6.1 for 64-bit PCs (signed)\n\
                    linux-image-6.1.0-56-amd64 - Linux 6.1 for 64-bit PCs (signed)\n\
                    linux-image-6.1.0-57-amd64-dbg - Debug symbols\n\
                    linux-image-6.1.0-57-amd64-unsigned - Linux 6.1 for 64-bit PCs\n\
                    linux-image-6.1.0-57-cloud-amd64 - Linux 6.1 for x86-64 cloud (signed)\n\
                    linux-image-6.12-amd64 - Linux for 64-bit PCs (meta-package)\n\
                    linux-image-6.12.100+deb12-amd64 - Linux 6.12 for 64-bit PCs (signed)\n\
                    linux-image-6.12.117+deb12-amd64 - Linux 6.12 for 64-bit PCs (signed)\n\
                    linux-image-6.12.117+deb12-rt-amd64 - Linux 6.12 for 64-bit PCs (signed), PREEMPT_RT\n";
        for (series, want) in [
            ("6.1", Some("linux-image-6.1.0-56-amd64")),
            ("6.12", Some("linux-image-6.12.117+deb12-amd64")),
            ("5.10", None),
        ] {
            assert_eq!(newest(list, series).as_deref(), want, "{series}");
        }
    }

    #[test]
    fn a_module_says_what_it_needs() {
        let module = b"\x7fELF\0license=GPL\0depends=udp_tunnel,ip6-udp-tunnel\0retpoline=Y\0";
        assert_eq!(depends(module), ["udp_tunnel", "ip6_udp_tunnel"]);
        assert!(depends(b"\0license=GPL\0depends=\0").is_empty());
        assert_eq!(name(Path::new("kernel/net/sched/cls-bpf.ko.xz")).as_deref(), Some("cls_bpf"));
        assert_eq!(name(Path::new("modules.order")), None);
    }
}
