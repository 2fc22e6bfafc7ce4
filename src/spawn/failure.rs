//! Why the command could not be started. The words are here and not in `report`, because they come from a look at the file
//! that could not be executed.

use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::read;

use super::search::Search;
use crate::config::Config;
use crate::exit::{NOT_EXECUTABLE, NOT_FOUND, OWN_FAILURE};
use crate::sys::Identity;
use crate::text::{OneLine, Short};

/// The command could not be started.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// foster's exit code.
    pub code: u8,
    /// One line that says why.
    pub message: String,
}

impl Failure {
    /// There is no such file.
    #[cold]
    pub fn not_found(name: &[u8], path: Option<&[u8]>) -> Failure {
        let reason = fmt::from_fn(|f| match path {
            _ if name.contains(&b' ') => write!(f, "{}", one_word(name)),
            Some(path) => write!(f, "not found in PATH ({})", OneLine(path)),
            None => f.write_str("no such file or directory"),
        });
        Failure {
            code: NOT_FOUND,
            message: format!("cannot run '{}': {reason}", Short(&OneLine(name), name_most(name))),
        }
    }

    /// The kernel refused the fork.
    #[cold]
    pub fn no_process(errno: Errno) -> Failure {
        let hint = match errno {
            Errno::EAGAIN => " (a limit on processes: ulimit -u, or pids.max of the cgroup)",
            _ => "",
        };
        Failure { code: OWN_FAILURE, message: format!("cannot start a process: {}{hint}", errno.desc()) }
    }

    /// A sandbox refuses a system call that foster cannot do without.
    pub fn refused(call: &str, errno: Errno) -> Failure {
        let message = format!("cannot supervise a command: a sandbox refuses {call}: {}", errno.desc());
        Failure { code: OWN_FAILURE, message }
    }

    /// The child could not become the user.
    #[cold]
    pub fn no_user(config: &Config, identity: Option<&Identity>, errno: Errno) -> Failure {
        let ids = fmt::from_fn(|f| match identity {
            Some(Identity { uid, gid, .. }) => write!(f, " (uid {uid}, gid {gid})"),
            None => Ok(()),
        });
        let hint = match errno {
            Errno::EPERM => " (no CAP_SETUID, or a user namespace denies it)",
            Errno::EINVAL => " (this user namespace lacks an id, or too many groups)",
            _ => "",
        };
        let message =
            format!("cannot run the command{}{ids}: {}{hint}", as_user(config), errno.desc().to_ascii_lowercase());
        Failure { code: OWN_FAILURE, message }
    }

    /// The child could not enter the directory.
    #[cold]
    pub fn no_directory(config: &Config, errno: Errno) -> Failure {
        let directory = OneLine(config.directory.as_deref().unwrap_or_default().to_bytes());
        let message =
            format!("cannot enter directory '{directory}'{}: {}", as_user(config), errno.desc().to_ascii_lowercase());
        Failure { code: OWN_FAILURE, message }
    }

    /// The kernel lets a process change to a user who has too many, and refuses its exec instead (execve(2), EAGAIN).
    #[cold]
    pub fn too_many_processes(config: &Config) -> Failure {
        let message = format!(
            "cannot run the command{}: a limit on the user's processes is exceeded (ulimit -u)",
            as_user(config)
        );
        Failure { code: OWN_FAILURE, message }
    }

    /// A text file without #! needs the shell, and that could not be executed.
    #[cold]
    pub fn no_shell(config: &Config, script: &CStr, shell: &CStr, errno: Errno) -> Failure {
        let (script, shell) = (OneLine(script.to_bytes()), OneLine(shell.to_bytes()));
        let message = format!(
            "cannot run {script}{}: it is a text file without #!, for which {shell} is needed: {}",
            as_user(config),
            errno.desc()
        );
        Failure { code: NOT_EXECUTABLE, message }
    }
}

/// A path is of use as a whole only. Several words in one may be a script, and their beginning tells which it is.
fn name_most(name: &[u8]) -> usize {
    if name.contains(&b' ') { 20 } else { usize::MAX }
}

/// What is wrong with a command like `"sleep 5"`: a shell made words of it, and nobody else does.
fn one_word(name: &[u8]) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        f.write_str("it is one word; give the command and each argument by itself, like [")?;
        let words = || name.split(|b| *b == b' ').filter(|word| !word.is_empty());
        for (i, word) in words().take(2).enumerate() {
            write!(f, "{}\"{}\"", if i == 0 { "" } else { ", " }, Short(&OneLine(word), 12))?;
        }
        f.write_str(if words().count() > 2 { ", ...]" } else { "]" })
    })
}

/// No file could be executed. This one tells most about the reason.
pub struct ExecFailed {
    pub path: CString,
    pub errno: Errno,
}

impl ExecFailed {
    /// What the kernel would say about executing this file; `None` if nothing can be seen that is in its way.
    #[cold]
    pub fn expected(path: &CStr, config: &Config) -> Option<Errno> {
        let file = as_path(config.directory.as_deref().unwrap_or_default()).join(as_path(path));
        match file.metadata() {
            Err(error) => Some(Errno::from_raw(error.raw_os_error().unwrap_or_default())),
            Ok(found) if found.is_dir() || found.permissions().mode() & 0o111 == 0 => Some(Errno::EACCES),
            Ok(_) => interpreter(&file)
                .filter(|interpreter| !Path::new(OsStr::from_bytes(interpreter)).exists())
                .map(|_| Errno::ENOENT),
        }
    }

    /// What is said about it, after a look at the file.
    #[cold]
    pub fn into_failure(self, search: &Search, config: &Config) -> Failure {
        // foster's working directory is another one than the command's.
        let directory = config.directory.as_deref().unwrap_or_default();
        let file = as_path(directory).join(as_path(&self.path));
        if self.errno == Errno::ENOENT && file.symlink_metadata().is_err() {
            return Failure::not_found(search.name, search.path);
        }
        // There is a file, and the kernel still says ENOENT: what it needs to run is missing. env(1) says 127 here too.
        let code = if self.errno == Errno::ENOENT { NOT_FOUND } else { NOT_EXECUTABLE };
        let (path, reason) = (OneLine(self.path.to_bytes()), self.reason(&file));
        Failure { code, message: format!("cannot run {path}{}: {reason}", as_user(config)) }
    }

    /// The errno in words that say what to mend.
    fn reason(&self, path: &Path) -> String {
        match self.errno {
            Errno::EACCES => match path.metadata() {
                Ok(file) if file.is_dir() => "it is a directory".to_owned(),
                Ok(file) if file.permissions().mode() & 0o111 == 0 => {
                    "permission denied: the file has no execute permission (chmod +x)".to_owned()
                }
                // foster may look further than the user.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    "permission denied: its directory may not be searched".to_owned()
                }
                _ => "permission denied".to_owned(),
            },
            Errno::ENOENT => match interpreter(path) {
                Some(interpreter) => format!("its interpreter '{}' does not exist", OneLine(&interpreter)),
                None => "the file is there, but its dynamic loader is not, or it is a dangling link".to_owned(),
            },
            Errno::ENOEXEC => "it is no program for this machine: another architecture, or a damaged file".to_owned(),
            other => other.desc().to_ascii_lowercase(),
        }
    }
}

/// The program that a script's first line names.
fn interpreter(path: &Path) -> Option<Vec<u8>> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut buffer = START;
    let line = first_bytes(&path, &mut buffer)?.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?.trim_ascii_start();
    // Not trimmed at the end: a carriage return there is just what is wrong.
    line.split(|b| *b == b' ' || *b == b'\t').next().map(<[u8]>::to_vec)
}

/// Whether it is text, as the shells decide it: no NUL before the end of the first line. Allocates nothing.
pub fn is_text(path: &CStr) -> bool {
    let mut buffer = START;
    let start = first_bytes(path, &mut buffer);
    start.is_some_and(|start| !start.split(|b| *b == b'\n').next().unwrap_or_default().contains(&0))
}

const START: [u8; 256] = [0; 256];

/// Does not wait for what is no ordinary file.
fn first_bytes<'a>(path: &CStr, buffer: &'a mut [u8; 256]) -> Option<&'a [u8]> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = open(path, flags, Mode::empty()).ok()?;
    let len = read(file, buffer).ok()?;
    buffer.get(..len)
}

fn as_path(text: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(text.to_bytes()))
}

/// ` as user 'app'`, so that a reader sees who was denied a permission.
fn as_user(config: &Config) -> impl fmt::Display {
    fmt::from_fn(|f| match &config.user {
        Some(user) => write!(f, " as user '{user}'"),
        None => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UserSpec;

    /// `foster[4194304]: error: ` stands in front. Paths and PATH are the user's, and of use as a whole only.
    #[test]
    fn why_a_start_failed_has_fewer_than_160_characters_without_the_users_paths() {
        let user = UserSpec::parse(b"app");
        let config = Config { user, directory: Some(c"/srv".to_owned()), ..Config::default() };
        let identity = Identity { uid: 1_000_680_000, gid: 1000, groups: Vec::new() };
        let words = [&b"x "[..], &[b'y'; 300], b" z"].concat();
        let mut failures = vec![
            Failure::not_found(&words, Some(b"/bin")),
            Failure::not_found(b"server", Some(b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")),
            Failure::not_found(b"./server", None),
            Failure::too_many_processes(&config),
            Failure::no_shell(&config, c"/docker-entrypoint.sh", c"/bin/sh", Errno::ENOENT),
        ];
        for errno in [Errno::EPERM, Errno::EINVAL, Errno::EAGAIN, Errno::EACCES] {
            failures.push(Failure::no_process(errno));
            failures.push(Failure::refused("rt_sigtimedwait(2)", errno));
            failures.push(Failure::no_user(&config, Some(&identity), errno));
            failures.push(Failure::no_directory(&config, errno));
        }
        for Failure { message, .. } in failures {
            assert!("foster[4194304]: error: ".len() + message.chars().count() < 160, "{message}");
        }
    }

    #[test]
    fn a_user_who_cannot_be_had_is_said_with_ids_and_what_is_missing() {
        let config = Config { user: UserSpec::parse(b"app"), ..Config::default() };
        let identity = Identity { uid: 70_000, gid: 7, groups: vec![7] };
        for (errno, reason) in [
            (Errno::EPERM, "operation not permitted (no CAP_SETUID, or a user namespace denies it)"),
            (Errno::EINVAL, "invalid argument (this user namespace lacks an id, or too many groups)"),
            (Errno::EAGAIN, "try again"),
        ] {
            let message = format!("cannot run the command as user 'app' (uid 70000, gid 7): {reason}");
            assert_eq!(Failure::no_user(&config, Some(&identity), errno), Failure { code: 125, message });
        }
    }
}
