//! A Unix socket's file: made with its rights, and removed if it is still ours.

use std::fs::{self, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::listener::BACKLOG;

/// The file that a listening socket is bound to. It goes with this value, unless somebody else has
/// put another in its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode: the same as long as it is the same file.
    identity: (u64, u64),
}

impl SocketFile {
    /// Listens at a path, with this mode, or what the umask leaves. A socket that nobody answers on
    /// is replaced.
    pub(super) fn listen(path: &Path, mode: Option<u32>) -> io::Result<(UnixListener, Self)> {
        let is_socket = |file: Metadata| file.file_type().is_socket();
        if fs::symlink_metadata(path).is_ok_and(is_socket) {
            if is_answered(path)? {
                return Err(ErrorKind::AddrInUse.into());
            }
            fs::remove_file(path)?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = Self {
            path: path.to_owned(),
            identity: identity(path)?,
        };
        // Before it listens nobody can connect, so nobody ever can with rights that were not meant.
        if let Some(mode) = mode {
            fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        socket.listen(BACKLOG)?;
        Ok((socket.into(), file))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // If it is gone meanwhile, so much the better.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether somebody listens at a socket, or may: only a refusal says that nobody does. Whoever has
/// a full queue does, and is not waited for.
fn is_answered(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let connected = socket.connect(&SockAddr::unix(path)?);
    Ok(!connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}
