//! The controlling terminal's foreground group: who may read from the terminal and who gets its Ctrl-C.

use std::fs::File;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::killpg;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};

use crate::signal::Signal;
use crate::sys::{self, Disposition};

/// The controlling terminal while foster's own process group is in its foreground.
///
/// Only then may foster hand it on: a shell that started foster in the background keeps its terminal.
pub struct Foreground(File);

impl Foreground {
    /// `None` without a controlling terminal, or when another group has it.
    pub fn own() -> Option<Foreground> {
        let terminal = controlling_terminal()?;
        has_it(&terminal).then_some(Foreground(terminal))
    }

    /// Makes a process group the foreground one. From the background this would stop the caller with SIGTTOU, were it
    /// not blocked (tcsetpgrp(3)).
    ///
    /// # Errors
    /// ENOTTY the terminal was lost meanwhile, EPERM the group is not of this session.
    pub fn give_to(&self, group: i32) -> Result<(), Errno> {
        tcsetpgrp(&self.0, Pid::from_raw(group))
    }
}

/// Whether foster's own process group is in the foreground.
///
/// A group that lies outside of foster's PID namespace has the number 0 here, foster's own and the foreground one alike, so
/// equal zeros say nothing. Then the kernel is asked in another way: with SIGTTIN blocked, as it is in foster, to read from
/// the background fails with EIO, also when nothing is to be read (`__tty_check_change` in drivers/tty/tty_jobctrl.c).
fn has_it(terminal: &File) -> bool {
    match (tcgetpgrp(terminal), getpgrp()) {
        (Ok(foreground), own) if own.as_raw() != 0 => foreground == own,
        (Ok(foreground), _) if foreground.as_raw() == 0 => nix::unistd::read(terminal, &mut []) == Ok(0),
        _ => false,
    }
}

/// Makes a process group the foreground one if foster's own group is that now; false if it is not.
///
/// # Errors
/// As [`Foreground::give_to`].
#[cold]
pub fn hand_to(group: i32) -> Result<bool, Errno> {
    let Some(terminal) = Foreground::own() else { return Ok(false) };
    terminal.give_to(group).map(|()| true)
}

/// Takes the terminal back from the command's group, if that still has it, or from a group that is no more. In a script the
/// next command runs when foster has ended. It may read from the terminal only if foster's group has it.
#[cold]
pub fn take_back_from(group: i32) {
    let Some(terminal) = controlling_terminal() else { return };
    let Ok(foreground) = tcgetpgrp(&terminal) else { return };
    let is_outside = foreground.as_raw() == 0;
    if foreground == Pid::from_raw(group) || (!is_outside && killpg(foreground, None) == Err(Errno::ESRCH)) {
        // An error means that the terminal is gone, and then there is nothing to take back.
        let _ = tcsetpgrp(&terminal, getpgrp());
    }
}

/// Whether a shell without job control has started foster as a background job. Such a shell leaves it in its own process
/// group, and has it ignore SIGINT and SIGQUIT (POSIX, "Asynchronous Lists").
pub fn is_background_job() -> bool {
    [Signal::INT, Signal::QUIT].into_iter().all(|signal| sys::disposition(signal) == Disposition::Ignored)
}

/// Whether there is a controlling terminal.
#[cold]
pub fn is_there() -> bool {
    controlling_terminal().is_some()
}

/// /dev/tty is the controlling terminal whatever descriptors 0 to 2 are, so that `… | foster less` works. Where there is
/// no /dev/tty, as in a bare chroot, one of those may still be it.
fn controlling_terminal() -> Option<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    match open("/dev/tty", flags, Mode::empty()) {
        Ok(terminal) => Some(File::from(terminal)),
        // There is no controlling terminal: the usual case in a container.
        Err(Errno::ENXIO) => None,
        Err(_) => [0, 1, 2].map(sys::standard).into_iter().find(|fd| tcgetpgrp(fd).is_ok()).and_then(duplicate),
    }
}

fn duplicate(fd: BorrowedFd<'_>) -> Option<File> {
    fd.try_clone_to_owned().ok().map(File::from)
}
