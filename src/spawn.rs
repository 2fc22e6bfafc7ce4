//! Everything between the fork and the exec, and what is said when the exec fails.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Pid, chdir, setpgid, setsid};

use crate::config::{Apart, Config};
use crate::exit::{NOT_EXECUTABLE, NOT_FOUND, OWN_FAILURE};
use crate::proc::OneLine;
use crate::signal::{Signal, SignalSet};
use crate::sys::{self, CStrings, Disposition, Identity, Ids, LateText};
use crate::terminal::Foreground;
use crate::user::{self, User};

/// What foster changed for itself and the command is to have as it was.
#[derive(Clone, Copy, Debug)]
pub struct Inherited {
    /// The signal mask.
    pub mask: SignalSet,
    /// What was to happen with SIGCHLD.
    pub sigchld: Disposition,
}

/// A command that runs.
#[derive(Clone, Copy, Debug)]
pub struct Spawned {
    /// Its process ID and that of its process group.
    pub pid: i32,
    /// Why it has no process group of its own, if it has not.
    pub no_group: Option<Errno>,
    /// Its group is in the foreground of its controlling terminal.
    pub has_terminal: bool,
    /// Why it did not get the terminal that was foster's to give, if it did not.
    pub no_terminal: Option<Errno>,
}

/// Starts the command in its own process group, in the terminal's foreground if foster was there, or in its own session;
/// as the user and in the directory that were asked for.
///
/// # Errors
/// The exit code for foster, and the line that says why.
#[inline(never)]
pub fn spawn(
    config: &Config,
    environment: &[&CStr],
    inherited: Inherited,
    own: i32,
    terminal: Option<&Foreground>,
) -> Result<Spawned, Failure> {
    let Some(name) = config.command.first() else { return Err(Failure::not_found(b"", None)) };
    sys::can_wait_for_children(own).map_err(|errno| Failure::refused("wait4(2)", errno))?;
    let user = wanted_user(config)?;
    let environment = match &user {
        Some(user) => &with_home(environment, &user.home),
        None => environment,
    };
    let search = Search::new(name.to_bytes(), environment);
    let args = CStrings::new(config.command.iter().copied());
    let identity = user.as_ref().map(|user| &user.identity).filter(|identity| !is_own(identity));
    let child = Child { config, environment, inherited, own, terminal, identity };
    let unexecutable = match child.spawn(&search, &args)? {
        Attempt::Running(spawned) => return Ok(spawned),
        Attempt::Failed(failed) => failed,
    };
    // A text file without #! runs under the shell, as POSIX asks of execvp.
    if unexecutable.errno != Errno::ENOEXEC || !is_text(&unexecutable.file) {
        return Err(unexecutable.into_failure(name.to_bytes(), search.path, config));
    }
    let script = unexecutable.path;
    let words = [SHELL, &script].into_iter().chain(config.command.iter().copied().skip(1));
    match child.spawn(&Search::exactly(SHELL.to_bytes()), &CStrings::new(words))? {
        Attempt::Running(spawned) => Ok(spawned),
        Attempt::Failed(shell) => Err(Failure {
            code: NOT_EXECUTABLE,
            message: format!(
                "cannot run {}{}: it is a text file without #!, for which {} is needed: {}",
                OneLine(script.to_bytes()),
                as_user(config),
                OneLine(SHELL.to_bytes()),
                shell.errno.desc()
            ),
        }),
    }
}

const SHELL: &CStr = c"/bin/sh";

/// The user that `--user` asks for.
fn wanted_user(config: &Config) -> Result<Option<User>, Failure> {
    let Some(spec) = &config.user else { return Ok(None) };
    let [real, effective, _] = sys::ids();
    let user = match real == effective {
        true => user::lookup(spec, real),
        // Whoever could set these options could otherwise have any user's rights.
        false => Err("--user is refused to a foster that is installed set-user-ID or set-group-ID".to_owned()),
    };
    user.map(Some).map_err(|message| Failure { code: OWN_FAILURE, message })
}

/// Whether foster is this user already, so that nothing has to change, which would take privileges.
#[cold]
fn is_own(identity: &Identity) -> bool {
    let Identity { uid, gid, groups } = identity;
    let own = Ids { uid: *uid, gid: *gid };
    // Whoever started foster may have counted the group among the supplementary ones or not.
    let set = |groups: &[u32]| groups.iter().copied().chain([own.gid]).collect::<BTreeSet<_>>();
    sys::ids() == [own; 3] && set(&sys::groups()) == set(groups)
}

/// The environment with the user's HOME in the place of the one before, as gosu sets it; it leaves USER and LOGNAME alone.
#[cold]
fn with_home<'a>(environment: &[&'a CStr], home: &'a CStr) -> Vec<&'a CStr> {
    let is_home = |entry: &&CStr| entry.to_bytes().starts_with(b"HOME=");
    let place = environment.iter().position(is_home).unwrap_or(environment.len());
    let (before, after) = environment.split_at_checked(place).unwrap_or((environment, &[]));
    let after = after.iter().copied().filter(|entry| !is_home(entry));
    before.iter().copied().chain([home]).chain(after).collect()
}

/// ` as user 'app'`, for whoever wonders what a permission was denied to.
fn as_user(config: &Config) -> impl fmt::Display {
    fmt::from_fn(|f| match &config.user {
        Some(user) => write!(f, " as user '{user}'"),
        None => Ok(()),
    })
}

/// What is the same for both attempts.
struct Child<'a> {
    config: &'a Config<'a>,
    environment: &'a [&'a CStr],
    inherited: Inherited,
    /// foster's process ID.
    own: i32,
    terminal: Option<&'a Foreground>,
    /// Whom it has to become.
    identity: Option<&'a Identity>,
}

/// Why the child did not become the command.
#[derive(Clone, Copy)]
enum Obstacle {
    /// foster could not wait for signals.
    Signals(Errno),
    User(Errno),
    Directory(Errno),
    /// Which candidate of the search tells most about why.
    Exec(usize, Errno),
}

impl Obstacle {
    fn code(self) -> u8 {
        match self {
            Obstacle::Exec(_, Errno::ENOENT) => NOT_FOUND,
            Obstacle::Exec(_, errno) if errno != Errno::EAGAIN => NOT_EXECUTABLE,
            _ => OWN_FAILURE,
        }
    }
}

enum Attempt {
    Running(Spawned),
    Failed(ExecFailed),
}

/// No file could be executed; the one that tells most about why.
struct ExecFailed {
    path: CString,
    /// Where foster finds it, whose working directory is another one.
    file: PathBuf,
    errno: Errno,
}

impl Child<'_> {
    fn spawn(&self, search: &Search, args: &CStrings) -> Result<Attempt, Failure> {
        let listener = LateText::new();
        let (environment, names_listener) = self.environment(&listener);
        let mut path = Vec::with_capacity(search.longest());
        let mut failed = None;
        let mut no_group = None;
        let mut has_terminal = false;
        let mut no_terminal = None;
        // Becoming another user takes this from the memory, which is foster's too: programs in containers read /proc/1/fd.
        let was_dumpable = self.identity.is_some() && sys::is_dumpable();
        // Runs in the child, on foster's memory: system calls and writes to what was made above, no allocation.
        let pid = sys::vfork(|| {
            let own_group = match self.config.ways.apart {
                Apart::Group => setpgid(Pid::from_raw(0), Pid::from_raw(0)),
                Apart::Session => setsid().map(drop),
            };
            no_group = own_group.err();
            let deaf = sys::discard_pending_signals().err().map(Obstacle::Signals);
            if let (Some(terminal), Ok(())) = (self.terminal, own_group) {
                no_terminal = terminal.give_to(sys::pid()).err();
                has_terminal = no_terminal.is_none();
            }
            if self.config.ways.apart == Apart::Session {
                has_terminal = sys::take_terminal().is_ok();
            }
            if names_listener {
                listener.set(LISTEN_PID, sys::pid());
            }
            if self.inherited.sigchld == Disposition::Ignored {
                // It was ignored when foster came, so it can be.
                let _ = sys::set_disposition(Signal::CHLD, Disposition::Ignored);
            }
            let obstacle = deaf.or_else(|| self.settle().err()).unwrap_or_else(|| {
                sys::set_signal_mask(self.inherited.mask);
                let (which, errno) = search.execute(&mut path, args, &environment);
                Obstacle::Exec(which, errno)
            });
            failed = Some(obstacle);
            self.config.ways.codes.of(obstacle.code())
        });
        if was_dumpable {
            sys::make_dumpable();
        }
        let pid = pid.map_err(Failure::no_process)?;
        let Some(obstacle) = failed else {
            return Ok(Attempt::Running(Spawned { pid, no_group, has_terminal, no_terminal }));
        };
        sys::reap_failed_child(pid);
        if let Some(terminal) = self.terminal {
            // The dead child's group has it; an error means that the terminal is gone.
            let _ = terminal.give_to(nix::unistd::getpgrp().as_raw());
        }
        match obstacle {
            Obstacle::Signals(errno) => Err(Failure::refused("rt_sigtimedwait(2)", errno)),
            Obstacle::User(errno) => Err(Failure::no_user(self.config, self.identity, errno)),
            Obstacle::Directory(errno) => Err(Failure::no_directory(self.config, errno)),
            Obstacle::Exec(_, Errno::EAGAIN) => Err(Failure::too_many_processes(self.config)),
            Obstacle::Exec(which, errno) => {
                search.write(which, &mut path);
                Ok(Attempt::Failed(self.exec_failed(path, errno)))
            }
        }
    }

    #[cold]
    fn exec_failed(&self, path: Vec<u8>, errno: Errno) -> ExecFailed {
        let path = CStr::from_bytes_until_nul(&path).unwrap_or_default().to_owned();
        let directory = self.config.directory.as_deref().unwrap_or_default();
        let file = as_path(directory).join(as_path(&path));
        ExecFailed { path, file, errno }
    }

    /// The user first: what only the user may enter (a home on NFS) is entered, and what the user may not is said here.
    fn settle(&self) -> Result<(), Obstacle> {
        if let Some(identity) = self.identity {
            sys::become_user(identity).map_err(Obstacle::User)?;
        }
        match &self.config.directory {
            Some(directory) => chdir(directory.as_c_str()).map_err(Obstacle::Directory),
            None => Ok(()),
        }
    }

    /// The environment for the command. LISTEN_PID is rewritten where it names foster (sd_listen_fds(3)); then
    /// LISTEN_PIDFDID, which names foster by its inode in pidfs and is not needed, is left out.
    fn environment<'a>(&'a self, listener: &'a LateText) -> (CStrings<'a>, bool) {
        let names_foster = |entry: &&CStr| {
            let pid = entry.to_bytes().strip_prefix(LISTEN_PID).and_then(|pid| std::str::from_utf8(pid).ok());
            pid.and_then(|pid| pid.parse().ok()) == Some(self.own)
        };
        let Some(index) = self.environment.iter().position(names_foster) else {
            return (CStrings::new(self.environment.iter().copied()), false);
        };
        let kept = |entry: &&CStr| !entry.to_bytes().starts_with(b"LISTEN_PIDFDID=");
        let before = self.environment.iter().copied().take(index).filter(kept).count();
        let mut strings = CStrings::new(self.environment.iter().copied().filter(kept));
        strings.replace(before, listener);
        (strings, true)
    }
}

const LISTEN_PID: &[u8] = b"LISTEN_PID=";

/// Where the command may be: PATH's directories in order, or just the name if it has a slash (exec(3)).
struct Search<'a> {
    name: &'a [u8],
    /// PATH, if that is searched.
    path: Option<&'a [u8]>,
}

/// What is searched without a PATH; exec(3) leaves it to the system, and this is musl's choice.
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/bin:/usr/bin";

impl<'a> Search<'a> {
    fn new(name: &'a [u8], environment: &[&'a CStr]) -> Search<'a> {
        if name.contains(&b'/') || name.is_empty() {
            return Search::exactly(name);
        }
        let path = environment.iter().find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
        Search { name, path: Some(path.unwrap_or(DEFAULT_PATH)) }
    }

    fn exactly(name: &'a [u8]) -> Search<'a> {
        Search { name, path: None }
    }

    /// How long the longest candidate can be, with `./` or `/` and the NUL.
    fn longest(&self) -> usize {
        self.path.map_or(0, <[u8]>::len).saturating_add(self.name.len()).saturating_add(3)
    }

    /// Writes candidate number `which` into a buffer that has the capacity for it; false when there is none.
    fn write(&self, which: usize, buffer: &mut Vec<u8>) -> bool {
        let directory = match self.path {
            None if which == 0 => None,
            None => return false,
            Some(path) => match path.split(|b| *b == b':').nth(which) {
                // An empty directory is the current one; ./ keeps a name like -c from being an option of a shell.
                Some(b"") => Some(&b"."[..]),
                Some(directory) => Some(directory),
                None => return false,
            },
        };
        buffer.clear();
        if let Some(directory) = directory {
            buffer.extend_from_slice(directory);
            buffer.push(b'/');
        }
        buffer.extend_from_slice(self.name);
        buffer.push(0);
        true
    }

    /// Executes the first candidate that can be. Returns only when none could: which one tells most about why, and the
    /// errno. A file that may not be executed does not end the search but tells more than one that is not there.
    fn execute(&self, path: &mut Vec<u8>, args: &CStrings, environment: &CStrings) -> (usize, Errno) {
        let mut failed = (0, Errno::ENOENT);
        let mut which = 0;
        while self.write(which, path) {
            let Ok(candidate) = CStr::from_bytes_until_nul(path) else { break };
            match sys::execve(candidate, args, environment) {
                Errno::ENOENT | Errno::ENOTDIR | Errno::ESTALE | Errno::ENODEV | Errno::ETIMEDOUT
                    if self.path.is_some() => {}
                Errno::EACCES if self.path.is_some() => {
                    if failed.1 == Errno::ENOENT {
                        failed = (which, Errno::EACCES);
                    }
                }
                other => return (which, other),
            }
            which = which.saturating_add(1);
        }
        failed
    }
}

/// The command could not be started.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// foster's exit code.
    pub code: u8,
    /// One line that says why.
    pub message: String,
}

impl Failure {
    #[cold]
    fn not_found(name: &[u8], path: Option<&[u8]>) -> Failure {
        let where_ = fmt::from_fn(|f| match path {
            Some(path) => write!(f, "not found in PATH ({})", OneLine(path)),
            None => f.write_str("no such file or directory"),
        });
        Failure { code: NOT_FOUND, message: format!("cannot run '{}': {where_}", OneLine(name)) }
    }

    #[cold]
    fn no_process(errno: Errno) -> Failure {
        let hint = match errno {
            Errno::EAGAIN => " (a limit on processes: ulimit -u, or pids.max of the cgroup)",
            _ => "",
        };
        Failure { code: OWN_FAILURE, message: format!("cannot start a process: {}{hint}", errno.desc()) }
    }

    /// By a sandbox, a call without which there is no init.
    pub fn refused(call: &str, errno: Errno) -> Failure {
        let message = format!("cannot supervise a command, {call} is refused: {}", errno.desc());
        Failure { code: OWN_FAILURE, message }
    }

    #[cold]
    fn no_user(config: &Config, identity: Option<&Identity>, errno: Errno) -> Failure {
        let ids = fmt::from_fn(|f| match identity {
            Some(Identity { uid, gid, .. }) => write!(f, " (uid {uid}, gid {gid})"),
            None => Ok(()),
        });
        let hint = match errno {
            Errno::EPERM => " (it takes CAP_SETUID and CAP_SETGID, and a user namespace may deny it)",
            Errno::EINVAL => " (this user namespace does not map one of the ids, or there are too many groups)",
            _ => "",
        };
        let message =
            format!("cannot run the command{}{ids}: {}{hint}", as_user(config), errno.desc().to_ascii_lowercase());
        Failure { code: OWN_FAILURE, message }
    }

    #[cold]
    fn no_directory(config: &Config, errno: Errno) -> Failure {
        let directory = OneLine(config.directory.as_deref().unwrap_or_default().to_bytes());
        let message =
            format!("cannot enter directory '{directory}'{}: {}", as_user(config), errno.desc().to_ascii_lowercase());
        Failure { code: OWN_FAILURE, message }
    }

    /// The kernel lets a process change to a user who has too many, and refuses its exec instead (execve(2), EAGAIN).
    #[cold]
    fn too_many_processes(config: &Config) -> Failure {
        let message = format!(
            "cannot run the command{}: a limit on the user's processes is exceeded (ulimit -u)",
            as_user(config)
        );
        Failure { code: OWN_FAILURE, message }
    }
}

impl ExecFailed {
    #[cold]
    fn into_failure(self, name: &[u8], search: Option<&[u8]>, config: &Config) -> Failure {
        if self.errno == Errno::ENOENT && self.file.symlink_metadata().is_err() {
            return Failure::not_found(name, search);
        }
        // There is a file, and the kernel still says ENOENT: what it needs to run is missing. env(1) says 127 here too.
        let code = if self.errno == Errno::ENOENT { NOT_FOUND } else { NOT_EXECUTABLE };
        let (path, reason) = (OneLine(self.path.to_bytes()), self.reason(&self.file));
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
    let start = first_bytes(path)?;
    let line = start.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?.trim_ascii_start();
    // Not trimmed at the end: a carriage return there is just what is wrong.
    line.split(|b| *b == b' ' || *b == b'\t').next().map(<[u8]>::to_vec)
}

/// As the shells decide it: no NUL before the first line's end.
fn is_text(path: &Path) -> bool {
    first_bytes(path).is_some_and(|start| !start.split(|b| *b == b'\n').next().unwrap_or_default().contains(&0))
}

fn as_path(text: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(text.to_bytes()))
}

fn first_bytes(path: &Path) -> Option<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path).ok()?.take(256).read_to_end(&mut start).ok()?;
    Some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_home_is_left_where_the_first_one_was() {
        let home = c"HOME=/new";
        for (before, after) in [
            (&[c"A", c"HOME=/1", c"B", c"HOME=", c"HOMER=x"][..], &[c"A", home, c"B", c"HOMER=x"][..]),
            (&[c"A", c"HOME"], &[c"A", c"HOME", home]),
            (&[], &[home]),
        ] {
            assert_eq!(with_home(before, home), after);
        }
    }
}
