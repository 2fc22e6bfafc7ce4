//! Finding what the command left behind, and signalling it.
//!
//! As PID 1 that is everything else in the namespace, which one system call reaches whole. Elsewhere it is foster's own
//! descendants, which have to be found through /proc.

use std::collections::BTreeSet;

use nix::errno::Errno;

use crate::proc::{self, Stat};
use crate::signal::Signal;
use crate::sys::{self, Pidfd};

/// PID 1 of its namespace, which the kernel treats apart.
pub const INIT: i32 = 1;

/// How often /proc is read for one signal at most, should new descendants turn up. Not more often, because nothing is reaped
/// meanwhile, and against a fork bomb /proc only grows; SIGKILL comes again anyway.
const ROUNDS: u32 = 2;

/// Signals every leftover.
///
/// # Errors
/// They cannot be found: /proc is missing, or another PID namespace's.
pub fn signal(is_pid1: bool, signal: Signal) -> Result<(), Errno> {
    if !is_pid1 {
        return signal_descendants(signal);
    }
    match sys::signal_everybody_else(signal) {
        // ESRCH: there is nobody else. EPERM: nobody whom foster may signal.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Walks over /proc, round after round while new descendants turn up.
#[cold]
fn signal_descendants(signal: Signal) -> Result<(), Errno> {
    let mut signalled = BTreeSet::new();
    for _ in 0..ROUNDS {
        let before = signalled.len();
        proc::descendants(|process| {
            let identity = (process.pid, process.start_ticks);
            if !signalled.contains(&identity) && signal_process(process, signal) {
                signalled.insert(identity);
            }
        })?;
        if signalled.len() == before {
            break;
        }
    }
    Ok(())
}

/// Signals this process, and no other that may have got its pid meanwhile: foster opens the pidfd first, and then looks at
/// the process again. False if it is gone.
fn signal_process(process: &Stat, signal: Signal) -> bool {
    let sent = match Pidfd::open(process.pid) {
        Ok(pidfd) => match proc::stat(process.pid) {
            Some(now) if now.start_ticks == process.start_ticks => pidfd.send(signal),
            _ => Err(Errno::ESRCH),
        },
        Err(errno) => Err(errno),
    };
    match sent {
        Ok(()) => true,
        Err(Errno::ESRCH) => false,
        // An old kernel, or a sandbox without pidfds.
        Err(_) => sys::send(process.pid, signal, None) != Err(Errno::ESRCH),
    }
}

/// Those who are alive; nobody where /proc cannot be read.
#[cold]
pub fn alive(is_pid1: bool) -> Vec<Stat> {
    let mut alive = Vec::new();
    if is_pid1 {
        let others = proc::processes().into_iter().flatten();
        alive.extend(others.filter(|process| process.pid != INIT && !process.is_dead()));
    } else if proc::descendants(|process| alive.push(*process)).is_err() {
        alive.clear();
    }
    alive
}
