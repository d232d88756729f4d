//! Network namespaces by name, as `ip netns` knows them, and work inside one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use super::KernelError;

const DIR: &str = "/run/netns";

/// File of a namespace.
pub(crate) fn path(namespace: &str) -> PathBuf {
    Path::new(DIR).join(namespace)
}

/// Does something in a namespace, on a thread of its own: the caller's threads never change theirs.
pub(crate) fn inside<T: Send + 'static>(
    namespace: &str,
    what: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let file = File::open(path(namespace))?;
    on_a_thread(move || {
        setns(&file, CloneFlags::CLONE_NEWNET)?;
        what()
    })
}

fn on_a_thread<T: Send + 'static>(what: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let thread = thread::Builder::new().name("netns".into()).spawn(what)?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}

/// Makes a namespace, unless it is there.
pub(super) fn ensure(namespace: &str) -> Result<(), KernelError> {
    let fail = || KernelError::system(format!("make network namespace `{namespace}`"));
    prepare_dir().map_err(fail())?;
    let path = path(namespace);
    // A file without a mount is left over from a crash between the two.
    if path.exists() && inside(namespace, || Ok(())).is_ok() {
        return Ok(());
    }
    File::create(&path).map_err(fail())?;
    on_a_thread(move || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let none: Option<&str> = None;
        mount(Some("/proc/thread-self/ns/net"), &path, none, MsFlags::MS_BIND, none)?;
        Ok(())
    })
    .map_err(fail())
}

/// Makes /run/netns a shared mount, as `ip netns` does, so that other mount namespaces see what comes and goes.
fn prepare_dir() -> io::Result<()> {
    fs::create_dir_all(DIR)?;
    let none: Option<&str> = None;
    let shared = MsFlags::MS_SHARED | MsFlags::MS_REC;
    if mount(none, DIR, none, shared, none).is_err() {
        mount(Some(DIR), DIR, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?;
        mount(none, DIR, none, shared, none)?;
    }
    Ok(())
}

/// Removes a namespace and everything in it.
pub(super) fn remove(namespace: &str) -> Result<(), KernelError> {
    let fail = || KernelError::system(format!("remove network namespace `{namespace}`"));
    let path = path(namespace);
    match umount2(&path, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::errno::Errno::EINVAL) => {}
        Err(error) => return Err(fail()(error.into())),
    }
    fs::remove_file(&path).map_err(fail())
}

/// Names of the namespaces of a gateway.
pub(super) fn of_gateway(gateway: &str) -> Vec<String> {
    let Ok(files) = fs::read_dir(DIR) else { return Vec::new() };
    let prefix = format!("{gateway}.");
    let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&prefix)).collect()
}

/// Writes sysctls under /proc/sys/net, where they exist, in a namespace.
pub(super) fn sysctls(namespace: &str, settings: Vec<(String, &'static str)>) -> Result<(), KernelError> {
    inside(namespace, move || {
        for (name, value) in settings {
            let path = Path::new("/proc/sys/net").join(&name);
            if path.exists() {
                fs::write(&path, value)
                    .map_err(|cause| io::Error::new(cause.kind(), format!("{name}: {cause}")))?;
            }
        }
        Ok(())
    })
    .map_err(KernelError::system(format!("set sysctls in network namespace `{namespace}`")))
}
