//! Everything between the fork and the exec.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{Gid, Pid, chdir, getgroups, setpgid, setsid};

use crate::config::{Apart, Config};
use crate::exit::{NOT_EXECUTABLE, NOT_FOUND, OWN_FAILURE};
use crate::signal::{Signal, SignalSet};
use crate::sys::{self, CStrings, Disposition, Identity, Ids, LateText};
use crate::terminal::Foreground;
use crate::user::{self, User};

mod failure;
mod search;

pub use failure::Failure;
use failure::{ExecFailed, is_text};
use search::Search;

/// What foster changed for itself. The command gets it as it was.
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
    /// It runs as another user than foster.
    pub is_another_user: bool,
}

/// Starts the command in its own process group, in the terminal's foreground if foster was there, or in its own session;
/// as this user and in the directory that were asked for.
///
/// # Errors
/// The exit code for foster, and the line that says why.
#[inline(never)]
pub fn spawn(
    config: &Config,
    user: Option<User>,
    environment: &[&CStr],
    inherited: Inherited,
    own: i32,
    terminal: Option<&Foreground>,
) -> Result<Spawned, Failure> {
    let Some(name) = config.command.first() else { return Err(Failure::not_found(b"", None)) };
    sys::can_wait_for_children(own).map_err(|errno| Failure::refused("wait4(2)", errno))?;
    let environment = environment_for(user.as_ref(), environment);
    let environment = &*environment;
    let search = Search::new(name.to_bytes(), environment);
    let args = CStrings::new(config.command.iter().copied());
    let identity = user.as_ref().map(|user| &user.identity).filter(|identity| !is_own(identity));
    Child { config, environment, inherited, own, terminal, identity }.spawn(&search, args)
}

/// Finds the file that a start would execute. A start tries, as the user; this looks, as foster, and sees what only foster
/// may see.
///
/// # Errors
/// What a start would say.
#[cold]
pub fn locate(name: &[u8], config: &Config, environment: &[&CStr]) -> Result<CString, Failure> {
    let search = Search::new(name, environment);
    let (which, looked) = search.look(|path| ExecFailed::expected(path, config));
    let path = search.candidate(which);
    match looked {
        Ok(()) => Ok(path),
        Err(errno) => Err(ExecFailed { path, errno }.into_failure(&search, config)),
    }
}

const SHELL: &CStr = c"/bin/sh";

/// The user that `--user` asks for.
///
/// # Errors
/// Who is unknown, or why it is refused.
#[inline(never)]
pub fn wanted_user(config: &Config) -> Result<Option<User>, Failure> {
    let Some(spec) = &config.user else { return Ok(None) };
    let user = match sys::ids() {
        Some([real, effective, _]) if real == effective && !sys::has_rights_of_its_file() => user::lookup(spec, real),
        // Otherwise whoever may set these options would have any user's rights.
        _ => Err("--user is refused to a foster that is installed set-user-ID, set-group-ID or with file capabilities"
            .to_owned()),
    };
    user.map(Some).map_err(|message| Failure { code: OWN_FAILURE, message })
}

/// Whether foster is this user already, so that nothing has to change, which would take privileges.
#[cold]
fn is_own(identity: &Identity) -> bool {
    let Identity { uid, gid, groups } = identity;
    let own = Ids { uid: *uid, gid: *gid };
    let current = getgroups().unwrap_or_default();
    // Whoever started foster may have counted the group among the supplementary ones or not.
    let has_no_more = current.iter().all(|group| group.as_raw() == *gid || groups.contains(&group.as_raw()));
    let has_no_less = groups.iter().all(|group| group == gid || current.contains(&Gid::from_raw(*group)));
    sys::ids() == Some([own; 3]) && has_no_more && has_no_less
}

/// The environment as the command gets it.
#[inline(never)]
pub fn environment_for<'a>(user: Option<&'a User>, environment: &'a [&'a CStr]) -> Cow<'a, [&'a CStr]> {
    user.map_or(Cow::Borrowed(environment), |user| Cow::Owned(with_home(environment, &user.home)))
}

/// The environment with the user's HOME in the place of the one before, as gosu sets it; it leaves USER and LOGNAME alone.
#[cold]
fn with_home<'a>(environment: &[&'a CStr], home: &'a CStr) -> Vec<&'a CStr> {
    let mut entries = Vec::with_capacity(environment.len().saturating_add(1));
    let mut is_set = false;
    for entry in environment {
        if !entry.to_bytes().starts_with(b"HOME=") {
            entries.push(*entry);
        } else if !is_set {
            entries.push(home);
            is_set = true;
        }
    }
    if !is_set {
        entries.push(home);
    }
    entries
}

/// What the child needs to know.
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
    /// This candidate is a text file without #!, and the shell for it could not be executed.
    Shell(usize, Errno),
}

impl Obstacle {
    fn code(self) -> u8 {
        match self {
            Obstacle::Exec(_, Errno::ENOENT) => NOT_FOUND,
            Obstacle::Shell(..) => NOT_EXECUTABLE,
            Obstacle::Exec(_, errno) if errno != Errno::EAGAIN => NOT_EXECUTABLE,
            _ => OWN_FAILURE,
        }
    }
}

/// What the child leaves in foster's memory.
#[derive(Default)]
struct Left {
    obstacle: Option<Obstacle>,
    no_group: Option<Errno>,
    has_terminal: bool,
    no_terminal: Option<Errno>,
}

impl Child<'_> {
    fn spawn(&self, search: &Search, mut args: CStrings) -> Result<Spawned, Failure> {
        let listener = LateText::new();
        let (environment, names_listener) = self.environment(&listener);
        let mut path = Vec::with_capacity(search.longest());
        let mut left = Left::default();
        // Becoming another user makes this memory undumpable. It is foster's too, and programs in containers read /proc/1/fd.
        let was_dumpable = self.identity.is_some() && prctl::get_dumpable().unwrap_or(false);
        // SAFETY: foster has one thread and no signal handler (`foster::run`). The child makes system calls, and writes to
        // what was made above; it allocates nothing, and nothing in it panics.
        #[allow(unsafe_code)]
        let pid = unsafe {
            sys::vfork(|| {
                self.set_apart(&mut left);
                if names_listener {
                    listener.set(LISTEN_PID, sys::pid());
                }
                let obstacle = self.settle(left.obstacle).unwrap_or_else(|| {
                    sys::set_signal_mask(self.inherited.mask);
                    execute(search, &mut path, &mut args, &environment)
                });
                left.obstacle = Some(obstacle);
                self.config.ways.codes.of(obstacle.code())
            })
        };
        if was_dumpable {
            // It fails for other values only.
            let _ = prctl::set_dumpable(true);
        }
        let pid = pid.map_err(Failure::no_process)?;
        let Left { obstacle, no_group, has_terminal, no_terminal } = left;
        match obstacle {
            None => {
                let is_another_user = self.identity.is_some();
                Ok(Spawned { pid, no_group, has_terminal, no_terminal, is_another_user })
            }
            Some(obstacle) => Err(self.clean_up(pid, obstacle, search)),
        }
    }

    /// In the child: its own process group or session, nothing pending, and the terminal.
    fn set_apart(&self, left: &mut Left) {
        let own_group = match self.config.ways.apart {
            Apart::Group => setpgid(Pid::from_raw(0), Pid::from_raw(0)),
            Apart::Session => setsid().map(drop),
        };
        left.no_group = own_group.err();
        left.obstacle = sys::discard_pending_signals().err().map(Obstacle::Signals);
        if let (Some(terminal), Ok(())) = (self.terminal, own_group) {
            left.no_terminal = terminal.give_to(sys::pid()).err();
            left.has_terminal = left.no_terminal.is_none();
        }
        if self.config.ways.apart == Apart::Session {
            left.has_terminal = sys::take_terminal().is_ok();
        }
    }

    /// In the child: the inherited disposition of SIGCHLD, the user, the directory. The user comes before the directory. So
    /// what only the user may enter (a home on NFS) can be entered, and what the user may not enter is said here.
    fn settle(&self, obstacle: Option<Obstacle>) -> Option<Obstacle> {
        if self.inherited.sigchld == Disposition::Ignored {
            // It was ignored when foster came, so it can be.
            let _ = sys::set_disposition(Signal::CHLD, Disposition::Ignored);
        }
        if obstacle.is_some() {
            return obstacle;
        }
        if let Some(errno) = self.identity.and_then(|identity| sys::become_user(identity).err()) {
            return Some(Obstacle::User(errno));
        }
        let directory = self.config.directory.as_deref()?;
        chdir(directory).err().map(Obstacle::Directory)
    }

    /// The child did not become the command and has ended. Says why.
    #[cold]
    fn clean_up(&self, pid: i32, obstacle: Obstacle, search: &Search) -> Failure {
        sys::reap_failed_child(pid);
        if let Some(terminal) = self.terminal {
            // The dead child's group has it; an error means that the terminal is gone.
            let _ = terminal.give_to(nix::unistd::getpgrp().as_raw());
        }
        match obstacle {
            Obstacle::Signals(errno) => Failure::refused("rt_sigtimedwait(2)", errno),
            Obstacle::User(errno) => Failure::no_user(self.config, self.identity, errno),
            Obstacle::Directory(errno) => Failure::no_directory(self.config, errno),
            Obstacle::Exec(_, Errno::EAGAIN) => Failure::too_many_processes(self.config),
            Obstacle::Exec(which, errno) => {
                ExecFailed { path: search.candidate(which), errno }.into_failure(search, self.config)
            }
            Obstacle::Shell(which, errno) => Failure::no_shell(self.config, &search.candidate(which), SHELL, errno),
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

/// In the child: executes the command. A text file without #! runs under the shell, as POSIX asks of execvp. In the same
/// child: where foster is outside of the PID namespace of its children (`unshare --pid` without `--fork`), the first one is
/// the namespace's init, and with its end there is no second one.
fn execute(search: &Search, path: &mut Vec<u8>, args: &mut CStrings, environment: &CStrings) -> Obstacle {
    let (which, errno) = search.execute(path, args, environment);
    match CStr::from_bytes_until_nul(path) {
        Ok(script) if errno == Errno::ENOEXEC && is_text(script) => {
            Obstacle::Shell(which, sys::execute_shell(SHELL, script, args, environment))
        }
        _ => Obstacle::Exec(which, errno),
    }
}

const LISTEN_PID: &[u8] = b"LISTEN_PID=";

/// The command has its own copies by now. If foster kept a working directory, it would pin a mount. If it kept the end of a
/// pipe, the pipe's reader would still wait when the command has closed it.
///
/// `kept` is the termination log's, and the only descriptor of foster's own.
pub fn release_what_was_inherited(is_pid1: bool, kept: Option<RawFd>) {
    // An error would only mean that there is nothing better.
    let _ = nix::unistd::chdir("/");
    // As PID 1, stdin and stdout stay: programs in containers write to /proc/1/fd/1, and the runtime holds the other ends.
    // SAFETY: that one is the only one of foster's that it uses from here on. Of what it inherited, it uses
    // stderr alone.
    #[allow(unsafe_code)]
    unsafe {
        sys::close_descriptors(!is_pid1, kept);
    }
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

    /// The child's exit status, which alone tells where the child's memory is not foster's: under an emulator that forks.
    #[test]
    fn the_child_ends_with_the_code_that_foster_ends_with() {
        for (obstacle, code) in [
            (Obstacle::Exec(0, Errno::ENOENT), 127),
            (Obstacle::Exec(0, Errno::EACCES), 126),
            (Obstacle::Exec(0, Errno::EAGAIN), 125),
            (Obstacle::Shell(0, Errno::ENOENT), 126),
            (Obstacle::User(Errno::EPERM), 125),
            (Obstacle::Directory(Errno::ENOENT), 125),
            (Obstacle::Signals(Errno::EPERM), 125),
        ] {
            assert_eq!(obstacle.code(), code);
        }
    }
}
