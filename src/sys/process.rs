//! What this process is: how it was started, whom it runs as, its attributes, its clocks.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int};
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{getpid, getresgid, getresuid, getsid};

use super::signals::KernelTimespec;
use crate::signal::Signal;

/// Ends this process with a code, and does nothing else.
pub fn exit(code: u8) -> ! {
    // SAFETY: takes a number; nothing of foster's is left half done that another process could see. nix has no _exit.
    unsafe { libc::_exit(c_int::from(code)) }
}

/// What the kernel gave this process at its execve(2).
pub struct Startup {
    /// The arguments, `argv[0]` first.
    pub args: Vec<&'static CStr>,
    /// The environment: order, duplicates and entries without `=` as they came.
    pub environment: Vec<&'static CStr>,
}

impl Startup {
    /// Takes what the C runtime passes to `main`.
    ///
    /// # Safety
    /// `argv` must hold `argc` pointers to C strings, and these and libc's `environ` must stay as they are for the life
    /// of the process. Both hold in `main`, before anything calls setenv(3).
    pub unsafe fn capture(argc: c_int, argv: *const *const c_char) -> Startup {
        unsafe extern "C" {
            static environ: *const *const c_char;
        }
        let argc = usize::try_from(argc).unwrap_or(0);
        // SAFETY: the caller's promise: argc valid strings.
        let args = (0..argc).map(|i| unsafe { CStr::from_ptr(*argv.add(i)) }).collect();
        // SAFETY: `environ` is a null-terminated array of C strings, or null after clearenv(3), which nobody called.
        let environment = unsafe {
            let first = environ;
            let is_entry = |i: &usize| !first.is_null() && !(*first.add(*i)).is_null();
            let count = (0..).take_while(is_entry).count();
            (0..count).map(|i| CStr::from_ptr(*first.add(i))).collect()
        };
        Startup { args, environment }
    }
}

/// This process's ID in its own namespace.
pub fn pid() -> i32 {
    getpid().as_raw()
}

/// prctl(2) takes words, and a C function with `...` takes whatever is passed: an int would leave the upper half open.
const ZERO: libc::c_ulong = 0;
const CLEAR_ALL: libc::c_ulong = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;

/// Asks for a signal when the parent dies (PR_SET_PDEATHSIG). Raw, because nix's takes signals 1 to 31 alone.
///
/// # Errors
/// EINVAL for what the kernel takes for no signal.
pub fn set_parent_death_signal(signal: Signal) -> Result<(), Errno> {
    let number = libc::c_ulong::try_from(signal.number()).unwrap_or(0);
    // SAFETY: this option takes a number, no pointer.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, number, ZERO, ZERO, ZERO) }).map(drop)
}

/// Gives up the controlling terminal on stdin, if this process leads the session: the terminal is then free for another
/// session. The kernel sends SIGHUP and SIGCONT to the foreground group, and names this process as their sender
/// (tty_ioctl(4)).
pub fn leave_terminal() {
    if getsid(None) == Ok(getpid()) {
        // SAFETY: takes no pointer; an error means that there was no such terminal. nix has no TIOCNOTTY.
        unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCNOTTY) };
    }
}

/// Makes the terminal on stdin the controlling one of the session that this process leads (tty_ioctl(4)).
///
/// # Errors
/// ENOTTY it is no terminal, EPERM it is another session's.
pub fn take_terminal() -> Result<(), Errno> {
    // SAFETY: no pointer is passed. nix has no TIOCSCTTY.
    Errno::result(unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0) }).map(drop)
}

/// Whom a process runs as: real, effective and saved ids are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
}

/// A user and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    pub uid: u32,
    pub gid: u32,
}

/// The real, effective and saved ids of this process (getresuid(2)); `None` if a sandbox refuses to say.
pub fn ids() -> Option<[Ids; 3]> {
    let (users, groups) = (getresuid().ok()?, getresgid().ok()?);
    let ids = |uid: nix::unistd::Uid, gid: nix::unistd::Gid| Ids { uid: uid.as_raw(), gid: gid.as_raw() };
    Some([ids(users.real, groups.real), ids(users.effective, groups.effective), ids(users.saved, groups.saved)])
}

/// Whether the kernel gave this program rights that its caller has not: it is installed set-user-ID or set-group-ID, or with
/// file capabilities (AT_SECURE, getauxval(3)).
pub fn has_rights_of_its_file() -> bool {
    // SAFETY: takes a constant.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether this process has CAP_KILL, the right to signal everybody in its user namespace.
pub fn may_signal_everybody() -> bool {
    const VERSION_3: u32 = 0x2008_0522;
    const CAP_KILL: u32 = 5;
    let header = [VERSION_3, 0];
    // Two parts of effective, permitted and inheritable.
    let mut sets = [[0_u32; 3]; 2];
    // SAFETY: both are as large as the kernel's structures of this version and live through the call. nix has no capget(2).
    let got = unsafe { libc::syscall(libc::SYS_capget, &raw const header, &raw mut sets) };
    let [[effective, ..], _] = sets;
    got == 0 && effective & (1 << CAP_KILL) != 0
}

/// The calls that take ids of 32 bits. i386's and 32-bit Arm's first ones cut every id to 16.
#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
use libc::{SYS_setgroups, SYS_setresgid, SYS_setresuid};
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
use libc::{SYS_setgroups32 as SYS_setgroups, SYS_setresgid32 as SYS_setresgid, SYS_setresuid32 as SYS_setresuid};

/// Becomes another user for good. Only for the child between fork and exec: these are raw system calls, because the C
/// library's setuid(3), which nix calls, first sees to the threads of a process whose memory is not the child's own.
///
/// # Errors
/// EPERM without CAP_SETUID and CAP_SETGID, and where a user namespace denies setgroups(2); EINVAL for an id that the user
/// namespace does not map, and for more groups than the kernel takes.
pub fn become_user(identity: &Identity) -> Result<(), Errno> {
    let Identity { uid, gid, groups } = identity;
    // SAFETY: the groups live through the call, which only reads them; the others take numbers. The user comes last:
    // without its privileges no group could be changed any more.
    unsafe {
        Errno::result(libc::syscall(SYS_setgroups, groups.len(), groups.as_ptr()))?;
        Errno::result(libc::syscall(SYS_setresgid, *gid, *gid, *gid))?;
        Errno::result(libc::syscall(SYS_setresuid, *uid, *uid, *uid))?;
    }
    // Ambient capabilities survive a change from one ordinary user to another, and an exec. An old kernel has none.
    // SAFETY: this option takes numbers, no pointer. nix does not have it.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, CLEAR_ALL, ZERO, ZERO, ZERO) };
    // A sandbox may answer such calls with a success that is none (seccomp(2), SECCOMP_RET_ERRNO with 0).
    let expected = Ids { uid: *uid, gid: *gid };
    if ids() == Some([expected; 3]) { Ok(()) } else { Err(Errno::EPERM) }
}

/// The time since some moment, which nobody can set (CLOCK_MONOTONIC).
pub fn monotonic_time() -> Duration {
    clock(libc::CLOCK_MONOTONIC)
}

/// The time since boot, suspended or not: what process start times count from (CLOCK_BOOTTIME).
pub fn since_boot() -> Duration {
    clock(libc::CLOCK_BOOTTIME)
}

/// By the system call and not through the vDSO, which the C library and nix use. The vDSO is cheaper only from the third
/// reading on: its pages are faulted in at the start and unmapped at the end, and foster reads a clock about twice in its life.
fn clock(which: libc::clockid_t) -> Duration {
    let mut now = KernelTimespec::from(Duration::ZERO);
    // SAFETY: now lives through the call, which cannot fail for a clock that every kernel has.
    unsafe { libc::syscall(libc::SYS_clock_gettime, which, &raw mut now) };
    Duration::new(u64::try_from(now.seconds).unwrap_or(0), u32::try_from(now.nanoseconds).unwrap_or(0))
}

/// How many of /proc's clock ticks make a second.
pub fn ticks_per_second() -> u64 {
    // SAFETY: takes a constant.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A timespec of another size would have parts of its seconds among the nanoseconds.
    #[test]
    fn the_clocks_are_the_kernels() {
        let uptime = || {
            let text = std::fs::read_to_string("/proc/uptime").expect("/proc/uptime");
            let seconds = text.split(' ').next().and_then(|seconds| seconds.parse().ok()).expect("seconds");
            Duration::from_secs_f64(seconds)
        };
        // The file has hundredths.
        let hundredth = Duration::from_millis(10);
        let (before, now, after) = (uptime(), since_boot(), uptime() + hundredth);
        assert!(before <= now && now <= after, "{now:?} is not between {before:?} and {after:?}");
        let earlier = monotonic_time();
        assert!(earlier <= monotonic_time() && earlier <= since_boot());
    }

    /// prctl(2) is a C function with `...`: what it is given has to stand where the kernel looks for it.
    #[test]
    fn the_parent_death_signal_is_the_one_that_was_set() {
        let now = || {
            let mut number: c_int = -1;
            // SAFETY: number lives through the call, which writes an int.
            assert_eq!(unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut number, ZERO, ZERO, ZERO) }, 0);
            number
        };
        // qemu-user keeps real-time signals for itself.
        for number in [10, 15] {
            assert_eq!(set_parent_death_signal(Signal::new(number).expect("a signal")), Ok(()));
            assert_eq!(now(), number);
        }
        // SAFETY: takes numbers.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, ZERO, ZERO, ZERO, ZERO) }, 0);
        assert_eq!(now(), 0);
    }
}
