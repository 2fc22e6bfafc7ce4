//! Two inits that are broken on purpose: a comparison that finds nothing wrong with them finds nothing at all.

use std::process::{Child, Command, ExitCode};

use crate::run::signal_one;

/// Runs the stub of this name, if it is one.
pub fn run(name: &str, command: &[String]) -> Option<ExitCode> {
    let run = match name {
        NEVER_REAPS => never_reaps,
        NEVER_FORWARDS => never_forwards,
        _ => return None,
    };
    let child = Command::new(&command[0]).args(&command[1..]).spawn().expect("it runs");
    run(child);
    Some(ExitCode::SUCCESS)
}

pub const NEVER_REAPS: &str = "stub-never-reaps";
pub const NEVER_FORWARDS: &str = "stub-never-forwards";

/// Forwards every signal, and waits for its command alone.
#[allow(unsafe_code)]
fn never_reaps(mut child: Child) {
    let all = u64::MAX;
    loop {
        // SAFETY: masks of 64 bits that live through the calls; no siginfo and no timeout are asked for.
        let signal = unsafe {
            libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const all, 0, 8);
            libc::syscall(libc::SYS_rt_sigtimedwait, &raw const all, 0, 0, 8) as i32
        };
        match signal {
            libc::SIGCHLD if child.try_wait().expect("wait").is_some() => return,
            libc::SIGCHLD => {}
            signal => signal_one(child.id() as i32, signal),
        }
    }
}

/// Reaps whatever dies, and leaves every signal to its default, which as PID 1 is to be ignored.
#[allow(unsafe_code)]
fn never_forwards(child: Child) {
    // SAFETY: no status is asked for.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) } != child.id() as i32 {}
}
