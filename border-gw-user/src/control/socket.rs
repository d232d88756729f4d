//! The control socket's file: made where nothing else is, and removed at the end.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use super::Error;

/// A socket's file, removed when dropped.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode: another daemon may have the path by then.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("cannot remove control socket {}: {error}", self.path.display());
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Listens on a path, for its owner and group alone.
pub(super) async fn bind(path: &Path) -> Result<(UnixListener, SocketFile), Error> {
    let fail = |cause| Error::Socket { path: path.to_owned(), cause };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(fail)?;
    }
    match fs::symlink_metadata(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
        Err(cause) => return Err(fail(cause)),
        Ok(metadata) if metadata.file_type().is_socket() => remove_left_over(path).await?,
        Ok(_) => return Err(Error::NotASocket(path.to_owned())),
    }
    let listener = UnixListener::bind(path).map_err(fail)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path).map_err(fail)? };
    fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(fail)?;
    Ok((listener, file))
}

/// Removes a socket on which nobody listens: a busy one, or one that is closed to us, is somebody's.
async fn remove_left_over(path: &Path) -> Result<(), Error> {
    match UnixStream::connect(path).await {
        Err(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|cause| Error::Socket { path: path.to_owned(), cause })
        }
        _ => Err(Error::Taken(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path in a directory of this test's own.
    fn place(test: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("border-gw-{test}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory.join("control.sock")
    }

    fn forget(path: &Path) {
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_stays() {
        let path = place("file");
        fs::write(&path, "precious").unwrap();
        let error = bind(&path).await.unwrap_err();
        assert!(matches!(error, Error::NotASocket(_)), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        forget(&path);
    }

    #[tokio::test]
    async fn a_socket_that_is_left_over_is_replaced_and_one_in_use_is_not() {
        let path = place("left-over");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = bind(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let error = bind(&path).await.unwrap_err();
        assert!(matches!(error, Error::Taken(_)), "{error}");
        drop(first);
        forget(&path);
    }

    #[tokio::test]
    async fn the_socket_goes_with_its_daemon_unless_another_has_the_path() {
        let path = place("guard");
        drop(bind(&path).await.unwrap());
        assert!(!path.exists());
        let first = bind(&path).await.unwrap();
        fs::remove_file(&path).unwrap();
        let second = bind(&path).await.unwrap();
        drop(first);
        assert!(path.exists(), "it is the second's");
        drop(second);
        assert!(!path.exists());
        forget(&path);
    }
}
