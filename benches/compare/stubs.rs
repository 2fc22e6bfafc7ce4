//! Two inits that are broken on purpose: a comparison that finds nothing wrong with them finds nothing at all. And a command
//! that leaves generations of processes behind.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitCode};

use crate::run::signal_one;

/// Runs the stub of this name, if it is one.
pub fn run(name: &str, command: &[String]) -> Option<ExitCode> {
    if name == CHAINS {
        let number = |at: usize| command.get(at).and_then(|word| word.parse().ok()).expect("CHAINS GENERATIONS");
        chains(number(0), number(1));
        return Some(ExitCode::SUCCESS);
    }
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

pub const CHAINS: &str = "command-with-chains";

/// A command with so many chains of descendants, so many generations deep. All of them end by SIGTERM, which is the default;
/// the command itself exits on SIGUSR2.
#[allow(unsafe_code)]
fn chains(chains: u64, generations: u64) {
    let (mut told, teller) = std::io::pipe().expect("a pipe");
    let usr2 = 1_u64 << (libc::SIGUSR2 - 1);
    // SAFETY: a mask of 64 bits that lives through the call.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const usr2, 0, 8) };
    for _ in 0..chains {
        // SAFETY: this program has one thread.
        if unsafe { libc::fork() } == 0 {
            chain(generations, &teller);
        }
    }
    told.read_exact(&mut vec![0; chains as usize]).expect("every chain is there");
    std::io::stdout().write_all(b"ready\n").expect("told");
    // SAFETY: the mask lives through the call; no siginfo and no timeout are asked for.
    unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const usr2, 0, 0, 8) };
}

/// The last of a chain says that it is whole.
#[allow(unsafe_code)]
fn chain(generations: u64, mut teller: &std::io::PipeWriter) -> ! {
    if generations <= 1 {
        teller.write_all(b".").expect("told");
    } else {
        // SAFETY: this program has one thread.
        if unsafe { libc::fork() } == 0 {
            chain(generations - 1, teller);
        }
    }
    wait();
    std::process::exit(0)
}

/// Waits for a signal, whose default ends this process.
#[allow(unsafe_code)]
fn wait() {
    // SAFETY: takes nothing.
    unsafe { libc::pause() };
}
