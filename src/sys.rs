//! The one door to the kernel: every `unsafe` of the crate, each a thin typed wrapper. No policy.
//!
//! Signals go through raw system calls with the kernel's own 64-bit mask: musl's sigset functions leave out 32 to 34,
//! and `nix` knows no real-time signal at all.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use libc::c_long;
use nix::errno::Errno;

use crate::signal::{Delivery, Payload, Sender, Signal, SignalSet};

/// Ends this process with a code, and does nothing else.
pub fn exit(code: u8) -> ! {
    // SAFETY: takes a number; nothing of foster's is left half done that another process could see.
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

/// The kernel's siginfo_t on 64-bit machines, for what another process sends (include/uapi/asm-generic/siginfo.h).
#[repr(C)]
struct SigInfo {
    signo: c_int,
    errno: c_int,
    code: c_int,
    pad: c_int,
    pid: c_int,
    uid: u32,
    value: u64,
    rest: [u64; 12],
}

const _: () = assert!(size_of::<SigInfo>() == 128 && size_of::<usize>() == 8, "64-bit Linux only");

/// The size of the kernel's signal mask, which its system calls want told.
const MASK_BYTES: usize = size_of::<SignalSet>();

/// Blocks every signal, 32 to 34 included, and returns the mask that was in force. KILL and STOP cannot be blocked.
pub fn block_all_signals() -> SignalSet {
    set_signal_mask(SignalSet::ALL)
}

/// Sets the signal mask, and returns the one that was in force (rt_sigprocmask(2)).
pub fn set_signal_mask(mask: SignalSet) -> SignalSet {
    let mut old = SignalSet::default();
    // SAFETY: both pointers are to 64-bit masks that live through the call. It cannot fail with these arguments.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask.0, &raw mut old.0, MASK_BYTES)
    };
    old
}

/// What is to happen with a signal that is not blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The kernel's default.
    Default,
    /// Ignored.
    Ignored,
}

/// Sets a signal's disposition and returns the one before; handlers are never installed, so there are just two.
///
/// # Errors
/// EINVAL for KILL and STOP (sigaction(2)).
pub fn set_disposition(signal: Signal, disposition: Disposition) -> Result<Disposition, Errno> {
    // The kernel's own structure begins with the handler; flags, restorer and mask, in whichever order the machine has
    // them, are all zero. musl's sigaction(3) refuses 32 to 34, so it is not asked.
    let handler = match disposition {
        Disposition::Default => libc::SIG_DFL,
        Disposition::Ignored => libc::SIG_IGN,
    };
    let new = [handler, 0, 0, 0];
    let mut old = [0_usize; 4];
    let number = signal.number();
    // SAFETY: both are as large as the kernel's structure and live through the call; no handler is installed.
    let set = unsafe { libc::syscall(libc::SYS_rt_sigaction, number, &raw const new, &raw mut old, MASK_BYTES) };
    Errno::result(set)?;
    let [old_handler, ..] = old;
    Ok(if old_handler == libc::SIG_IGN { Disposition::Ignored } else { Disposition::Default })
}

/// Waits until a signal is pending and takes it; `None` after `timeout`, or when the wait was interrupted by nothing
/// that is a signal to us (a stop and continue). Without a timeout it may sleep for ever.
///
/// One system call takes the signal with its siginfo, in the kernel's order, and never drops a queued one.
pub fn wait_for_signal(timeout: Option<Duration>) -> Option<Delivery> {
    let mut info = MaybeUninit::<SigInfo>::uninit();
    let timeout = timeout.map(|left| libc::timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    let mask = SignalSet::ALL;
    // SAFETY: mask and timeout live through the call, info is large enough for the siginfo_t that it writes.
    let number =
        unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const mask.0, info.as_mut_ptr(), timeout, MASK_BYTES) };
    let signal = Signal::new(i32::try_from(number).ok()?)?;
    // SAFETY: on success the kernel has written the whole structure.
    Some(delivery(signal, unsafe { info.assume_init_ref() }))
}

/// Reads the origin out of a siginfo. Positive codes are the kernel's; negative ones and SI_USER (0) another process's,
/// of which SI_TIMER and SI_SIGIO carry no sender.
fn delivery(signal: Signal, info: &SigInfo) -> Delivery {
    let sender = match info.code {
        1.. | libc::SI_TIMER | libc::SI_SIGIO => Sender::Kernel,
        _ if info.pid == 0 => Sender::Outside,
        _ if info.pid == pid() => Sender::Myself,
        _ => Sender::Process { pid: info.pid, uid: info.uid, name: None },
    };
    let is_queued = info.code < 0 && info.code != libc::SI_TKILL && sender != Sender::Kernel;
    let payload = is_queued.then_some(Payload { code: info.code, pid: info.pid, uid: info.uid, value: info.value });
    Delivery { signal, sender, payload }
}

/// Sends a signal to one process, with the payload that came with it.
///
/// # Errors
/// ESRCH no such process, EPERM not allowed, EAGAIN the receiver's queue is full (kill(2), rt_sigqueueinfo(2)).
pub fn send(pid: i32, signal: Signal, payload: Option<Payload>) -> Result<(), Errno> {
    let Some(payload) = payload else { return kill(pid, signal) };
    let info = sig_info(signal, payload);
    // SAFETY: info is a whole siginfo_t, which the kernel only reads.
    let sent = unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, pid, signal.number(), &raw const info) };
    Errno::result(sent).map(drop)
}

/// Sends a signal to the process group that this process leads, with the payload that came with it.
///
/// A payload reaches a group only through pidfd_send_signal(2) with PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9; on an older
/// kernel the signal goes without.
///
/// # Errors
/// As [`send`]; ESRCH also when the process leads no group (any more).
pub fn send_to_group(leader: i32, signal: Signal, payload: Option<Payload>) -> Result<(), Errno> {
    if let Some(payload) = payload
        && queue_to_group(leader, signal, payload).is_ok()
    {
        return Ok(());
    }
    // -1 would mean every process there is; no group has the ID 1 or less but init's own.
    if leader <= 1 {
        return Err(Errno::ESRCH);
    }
    kill(leader.saturating_neg(), signal)
}

fn queue_to_group(leader: i32, signal: Signal, payload: Payload) -> Result<(), Errno> {
    const PIDFD_SIGNAL_PROCESS_GROUP: c_int = 1 << 2;
    let info = sig_info(signal, payload);
    Pidfd::open(leader)?.send_with(signal, &raw const info, PIDFD_SIGNAL_PROCESS_GROUP)
}

fn sig_info(signal: Signal, payload: Payload) -> SigInfo {
    let Payload { code, pid, uid, value } = payload;
    SigInfo { signo: signal.number(), errno: 0, code, pad: 0, pid, uid, value, rest: [0; 12] }
}

/// Sends a signal to every process in the namespace but this one. Only PID 1 may: anybody else's kill(-1) reaches the
/// whole machine.
///
/// # Errors
/// EPERM when this is not PID 1, and nothing is sent; ESRCH when there is nobody else (kill(2)).
pub fn signal_everybody_else(signal: Signal) -> Result<(), Errno> {
    if pid() != 1 {
        return Err(Errno::EPERM);
    }
    kill(-1, signal)
}

/// Sends a signal to this process's own group, and so to itself too, as the terminal does with Ctrl-C and Ctrl-Z. Not from
/// PID 1, whose group may be the container's, or reach out of the namespace.
///
/// # Errors
/// EPERM when this is PID 1, and nothing is sent.
pub fn signal_own_group(signal: Signal) -> Result<(), Errno> {
    if pid() == 1 {
        return Err(Errno::EPERM);
    }
    kill(0, signal)
}

/// A process that can be signalled without its pid being reused meanwhile (pidfd_open(2)).
pub struct Pidfd(OwnedFd);

impl Pidfd {
    /// Opens it.
    ///
    /// # Errors
    /// ESRCH no such process, ENOSYS before Linux 5.3, EMFILE.
    pub fn open(pid: i32) -> Result<Pidfd, Errno> {
        // SAFETY: no pointer is passed.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
        // SAFETY: the kernel has just made this descriptor for us, with close-on-exec set.
        Ok(Pidfd(unsafe { OwnedFd::from_raw_fd(c_int::try_from(fd).map_err(|_| Errno::EBADF)?) }))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// As [`send`]; ENOSYS before Linux 5.1.
    pub fn send(&self, signal: Signal) -> Result<(), Errno> {
        self.send_with(signal, ptr::null(), 0)
    }

    fn send_with(&self, signal: Signal, info: *const SigInfo, flags: c_int) -> Result<(), Errno> {
        // SAFETY: info is null or a whole siginfo_t, which the kernel only reads.
        let sent =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal.number(), info, flags) };
        Errno::result(sent).map(drop)
    }
}

fn kill(target: i32, signal: Signal) -> Result<(), Errno> {
    // SAFETY: no pointer is passed.
    Errno::result(unsafe { libc::kill(target, signal.number()) }).map(drop)
}

/// A child that changed, and the raw status that says how.
#[derive(Clone, Copy, Debug)]
pub struct Reaped {
    /// Its process ID, free for reuse from now on if it died.
    pub pid: i32,
    /// The status as wait4(2) gives it.
    pub status: i32,
}

/// What a reaped child used, itself and the children that it waited for.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// User and system CPU time.
    pub cpu: Duration,
    /// Largest resident set in KiB.
    pub max_rss_kib: i64,
}

/// __WALL: also children whose parent cloned them with another exit signal than SIGCHLD (wait4(2)).
const ANY_CHILD: c_int = libc::WNOHANG | libc::WUNTRACED | libc::__WALL;

/// There is no news of any child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoNews {
    /// But there are children.
    pub children_left: bool,
}

impl NoNews {
    /// What a wait function that returned 0 or failed means: ECHILD, or children without news.
    fn from(returned: c_int) -> NoNews {
        NoNews { children_left: returned == 0 || Errno::last() != Errno::ECHILD }
    }
}

/// Reaps one child that has died, or takes the news that one has stopped. Never waits.
///
/// # Errors
/// There is no news.
pub fn reap_any() -> Result<Reaped, NoNews> {
    wait4(-1, ptr::null_mut())
}

/// A child with news that nobody has taken yet.
#[derive(Clone, Copy, Debug)]
pub struct Peeked {
    /// Its process ID.
    pub pid: i32,
    /// It is dead; otherwise it has stopped.
    pub died: bool,
}

/// Which child [`reap_any`] would take, without taking it: what /proc knows of it is still there to be read. `None`: a
/// sandbox refuses waitid(2), so nobody can look.
///
/// # Errors
/// There is no news.
pub fn peek_any() -> Result<Option<Peeked>, NoNews> {
    let options = libc::WEXITED | libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: all zero is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: info lives through the call, which writes the whole of it, or with no news leaves si_pid 0.
    let (returned, pid) = unsafe { (libc::waitid(libc::P_ALL, 0, &mut info, options), info.si_pid()) };
    let died = info.si_code != libc::CLD_STOPPED;
    match returned {
        0 if pid > 0 => Ok(Some(Peeked { pid, died })),
        -1 if Errno::last() != Errno::ECHILD => Ok(None),
        other => Err(NoNews::from(other)),
    }
}

/// Reaps this child, or any, with what it used.
///
/// # Errors
/// There is no news of it (any more).
pub fn reap_with_usage(pid: Option<i32>) -> Result<(Reaped, Usage), NoNews> {
    // SAFETY: all zero is a valid rusage.
    let mut usage: libc::rusage = unsafe { MaybeUninit::zeroed().assume_init() };
    let reaped = wait4(pid.unwrap_or(-1), &raw mut usage)?;
    let time = |t: libc::timeval| {
        Duration::from_secs(u64::try_from(t.tv_sec).unwrap_or(0))
            .saturating_add(Duration::from_micros(u64::try_from(t.tv_usec).unwrap_or(0)))
    };
    let cpu = time(usage.ru_utime).saturating_add(time(usage.ru_stime));
    Ok((reaped, Usage { cpu, max_rss_kib: usage.ru_maxrss }))
}

/// `usage` is null or outlives the call.
fn wait4(pid: i32, usage: *mut libc::rusage) -> Result<Reaped, NoNews> {
    let mut status = 0;
    loop {
        // SAFETY: status lives through the call, and so does usage, as every caller here sees to.
        match unsafe { libc::wait4(pid, &mut status, ANY_CHILD, usage) } {
            pid @ 1.. => return Ok(Reaped { pid, status }),
            // Not to be expected of a call that does not wait. Taken for "no news" it would lose a death.
            -1 if Errno::last() == Errno::EINTR => {}
            other => return Err(NoNews::from(other)),
        }
    }
}

/// Whether a sandbox lets this process, whose ID is `own`, wait for children at all: an init that cannot would wait in
/// vain, or for ever.
///
/// # Errors
/// What wait4(2) says instead of ECHILD, since nobody is a child of itself.
pub fn can_wait_for_children(own: i32) -> Result<(), Errno> {
    // SAFETY: neither status nor usage is asked for.
    unsafe { libc::wait4(own, ptr::null_mut(), libc::WNOHANG, ptr::null_mut()) };
    failed_only_with(Errno::ECHILD)
}

/// The same for signals, none of which is taken.
///
/// # Errors
/// What rt_sigtimedwait(2) says instead of EAGAIN.
pub fn can_wait_for_signals() -> Result<(), Errno> {
    let (none, at_once) = (SignalSet::default(), libc::timespec { tv_sec: 0, tv_nsec: 0 });
    let no_info = ptr::null_mut::<SigInfo>();
    // SAFETY: mask and timeout live through the call; no siginfo is asked for.
    unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const none.0, no_info, &raw const at_once, MASK_BYTES) };
    failed_only_with(Errno::EAGAIN)
}

/// Throws away what is pending for this process. For the child between fork and exec alone: whatever hit it there hit
/// the whole process group that it had just been in, foster included, and foster forwards its own copy.
///
/// # Errors
/// A sandbox refuses rt_sigtimedwait(2), by which foster itself waits for everything.
pub fn discard_pending_signals() -> Result<(), Errno> {
    while wait_for_signal(Some(Duration::ZERO)).is_some() {}
    failed_only_with(Errno::EAGAIN)
}

/// Whether the call that has just failed did so in its usual way, or was interrupted, and was not refused.
fn failed_only_with(usual: Errno) -> Result<(), Errno> {
    match Errno::last() {
        Errno::EINTR => Ok(()),
        errno if errno == usual => Ok(()),
        refused => Err(refused),
    }
}

/// Waits for this child's death and forgets it.
pub fn reap_failed_child(pid: i32) {
    // SAFETY: no status is asked for. EINTR cannot come: every signal is blocked and none has a handler.
    unsafe { libc::waitpid(pid, ptr::null_mut(), libc::__WALL) };
}

/// A null-terminated array of C strings, as execve(2) takes it.
pub struct CStrings<'a> {
    pointers: Vec<*const c_char>,
    strings: PhantomData<&'a CStr>,
}

impl<'a> CStrings<'a> {
    /// The strings in this order.
    pub fn new(strings: impl Iterator<Item = &'a CStr>) -> CStrings<'a> {
        let mut pointers: Vec<_> = strings.map(CStr::as_ptr).collect();
        pointers.push(ptr::null());
        CStrings { pointers, strings: PhantomData }
    }

    /// Puts a text that is only known later at this place, if there is one.
    pub fn replace(&mut self, index: usize, text: &'a LateText) {
        if index.saturating_add(1) < self.pointers.len()
            && let Some(pointer) = self.pointers.get_mut(index)
        {
            *pointer = text.0.as_ptr().cast::<c_char>();
        }
    }
}

/// A short C string whose text is set after the array that holds it was made: always terminated.
pub struct LateText([Cell<u8>; 32]);

impl LateText {
    /// An empty text.
    pub fn new() -> LateText {
        LateText([const { Cell::new(0) }; 32])
    }

    /// Sets the text: `prefix` and then the number, cut to 31 bytes. Allocates nothing.
    pub fn set(&self, prefix: &[u8], number: i32) {
        let mut digits = [0_u8; 10];
        let mut rest = number.unsigned_abs();
        let mut first = digits.len();
        for (i, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0'.saturating_add(u8::try_from(rest % 10).unwrap_or(0));
            rest /= 10;
            first = i;
            if rest == 0 {
                break;
            }
        }
        let text = prefix.iter().chain(digits.iter().skip(first)).copied();
        let with_end = text.take(self.0.len().saturating_sub(1)).chain([0]);
        for (cell, byte) in self.0.iter().zip(with_end) {
            cell.set(byte);
        }
    }
}

impl Default for LateText {
    fn default() -> LateText {
        LateText::new()
    }
}

/// Replaces the program of this process; returns only to say why it could not.
pub fn execve(path: &CStr, args: &CStrings, environment: &CStrings) -> Errno {
    // SAFETY: path is a C string; both arrays are null-terminated and their strings live as long as the arrays.
    unsafe { libc::execve(path.as_ptr(), args.pointers.as_ptr(), environment.pointers.as_ptr()) };
    Errno::last()
}

/// What lies between the stack of `vfork` and that of its child: more than the C library's clone(3) takes, a few hundred.
const CLONE_BYTES: usize = 1024;

/// Runs `child` in a new process that shares this one's memory, and sleeps until that process has executed a program or
/// ended, which it does with the status that `child` returns. Returns its process ID.
///
/// As with vfork(2) nothing is copied, whatever `child` writes is seen here, and no signal that foster forwards can come
/// before the exec, since foster sleeps. An emulator that makes a fork of it (qemu-user, linux-user/syscall.c) leaves only
/// the status to tell what went wrong.
///
/// # Errors
/// EAGAIN a limit on processes (RLIMIT_NPROC, pids.max), ENOMEM, or EPERM from a seccomp filter (clone(2)).
pub fn vfork<F: FnMut() -> u8>(mut child: F) -> Result<i32, Errno> {
    extern "C" fn run<F: FnMut() -> u8>(child: *mut c_void) -> c_int {
        // SAFETY: the pointer is to the closure below, which outlives this process's use of it: the parent sleeps.
        let child = unsafe { &mut *child.cast::<F>() };
        let status = child();
        // SAFETY: ends this process alone, without the parent's atexit handlers.
        unsafe { libc::_exit(c_int::from(status)) }
    }
    // The child runs below foster's own frames, as with vfork(2): another stack would be one page more that is foster's
    // for ever.
    let mut frame = MaybeUninit::<[u64; 2]>::uninit();
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: CLONE_VFORK keeps this process, which has a single thread, asleep until the child is done with the shared
    // memory, so the child is like a call. Where its stack begins, aligned and a distance away from what the sleeping parent
    // uses, nothing is in use. No handler can run in it: every signal is blocked and none has a handler.
    let pid = unsafe {
        let stack = frame.as_mut_ptr().cast::<u8>().wrapping_sub(CLONE_BYTES);
        let stack = stack.wrapping_sub(stack.addr() % 16);
        libc::clone(run::<F>, stack.cast::<c_void>(), flags, (&raw mut child).cast::<c_void>())
    };
    Errno::result(pid)
}

/// Becomes the reaper of its descendants' orphans (PR_SET_CHILD_SUBREAPER, Linux 3.4).
///
/// # Errors
/// EINVAL on a kernel or sandbox that does not know it.
pub fn become_subreaper() -> Result<(), Errno> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1)
}

/// Whether this process is a subreaper, perhaps since before its execve(2).
pub fn is_subreaper() -> bool {
    let mut is: c_int = 0;
    // SAFETY: this option takes a pointer to an int, which lives through the call.
    let asked = unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut is, 0_i64, 0_i64, 0_i64) };
    asked == 0 && is != 0
}

/// Gives up the controlling terminal on stdin, if this process leads the session: the terminal is then free for another
/// session. The kernel's SIGHUP and SIGCONT to the foreground group name this process as their sender (tty_ioctl(4)).
pub fn leave_terminal() {
    // SAFETY: neither takes a pointer; an error means that there was no such terminal.
    unsafe {
        if libc::getsid(0) == pid() {
            libc::ioctl(libc::STDIN_FILENO, libc::TIOCNOTTY);
        }
    }
}

/// Makes the terminal on stdin the controlling one of the session that this process leads (tty_ioctl(4)).
///
/// # Errors
/// ENOTTY it is no terminal, EPERM it is another session's.
pub fn take_terminal() -> Result<(), Errno> {
    // SAFETY: no pointer is passed.
    Errno::result(unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0) }).map(drop)
}

/// Asks for a signal when the parent dies (PR_SET_PDEATHSIG).
///
/// # Errors
/// EINVAL for what the kernel takes for no signal.
pub fn set_parent_death_signal(signal: Signal) -> Result<(), Errno> {
    prctl(libc::PR_SET_PDEATHSIG, c_long::from(signal.number()))
}

fn prctl(option: c_int, value: c_long) -> Result<(), Errno> {
    // SAFETY: these options take numbers, no pointer.
    Errno::result(unsafe { libc::prctl(option, value, 0_i64, 0_i64, 0_i64) }).map(drop)
}

/// Whom a process runs as: real, effective and saved ids are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
}

/// A user and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// The real, effective and saved ids of this process (getresuid(2)).
pub fn ids() -> [Ids; 3] {
    let ([mut ruid, mut euid, mut suid], [mut rgid, mut egid, mut sgid]) = ([0; 3], [0; 3]);
    // SAFETY: all of them live through the calls, which cannot fail otherwise.
    unsafe {
        libc::getresuid(&mut ruid, &mut euid, &mut suid);
        libc::getresgid(&mut rgid, &mut egid, &mut sgid);
    }
    [Ids { uid: ruid, gid: rgid }, Ids { uid: euid, gid: egid }, Ids { uid: suid, gid: sgid }]
}

/// The supplementary groups of this process (getgroups(2)); none when they cannot be had.
pub fn groups() -> Vec<u32> {
    // SAFETY: with a length of 0 nothing is written.
    let count = unsafe { libc::getgroups(0, ptr::null_mut()) };
    let mut groups = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: there is room for so many, and nobody changes them meanwhile.
    let count = unsafe { libc::getgroups(count.max(0), groups.as_mut_ptr()) };
    groups.truncate(usize::try_from(count).unwrap_or(0));
    groups
}

/// Becomes another user for good. For the child between fork and exec alone: these are raw system calls, for the C
/// library's setuid(3) would first see to the threads of a process whose memory is not the child's own.
///
/// # Errors
/// EPERM without CAP_SETUID and CAP_SETGID, and where a user namespace denies setgroups(2); EINVAL for an id that the user
/// namespace does not map, and for more groups than the kernel takes.
pub fn become_user(identity: &Identity) -> Result<(), Errno> {
    let Identity { uid, gid, groups } = identity;
    // SAFETY: the groups live through the call, which only reads them; the others take numbers. The user last: without its
    // privileges no group could be changed any more.
    unsafe {
        Errno::result(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
        Errno::result(libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid))?;
        Errno::result(libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid))?;
    }
    // A sandbox may answer such calls with a success that is none (seccomp(2), SECCOMP_RET_ERRNO with 0).
    let expected = Ids { uid: *uid, gid: *gid };
    if ids() == [expected; 3] { Ok(()) } else { Err(Errno::EPERM) }
}

/// Whether others of the same user may look at this process (PR_GET_DUMPABLE).
pub fn is_dumpable() -> bool {
    // SAFETY: this option takes no pointer.
    let dumpable = unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0_i64, 0_i64, 0_i64, 0_i64) };
    dumpable == 1
}

/// Lets others of the same user look at this process again (PR_SET_DUMPABLE).
pub fn make_dumpable() {
    // It fails for other values only.
    let _ = prctl(libc::PR_SET_DUMPABLE, 1);
}

/// This process's ID in its own namespace.
pub fn pid() -> i32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::getpid() }
}

/// The parent's ID; 0 when the parent is outside this PID namespace.
pub fn parent_pid() -> i32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::getppid() }
}

/// Closes these descriptors, and every one above 2.
pub fn close_descriptors(low: &[c_int]) {
    for fd in low {
        // SAFETY: nothing of foster's owns a descriptor from 0 to 2; what they name is not used afterwards.
        unsafe { libc::close(*fd) };
    }
    // SAFETY: nothing of foster's owns a descriptor at this point, which is the caller's moment right after the exec.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    if closed != 0 {
        close_listed_descriptors();
    }
}

/// close_range(2) came with Linux 5.9 and sandboxes may refuse it: /proc lists what is open.
fn close_listed_descriptors() {
    let Ok(listed) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<c_int> =
        listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(|fd| *fd > 2).collect();
    for fd in open {
        // SAFETY: as above; the listing's own descriptor is closed by now, and closing it again does nothing.
        unsafe { libc::close(fd) };
    }
}

/// Writes to stderr if that is possible without waiting. At most PIPE_BUF bytes, so that a pipe takes all or nothing.
///
/// stderr is shared with others, so O_NONBLOCK is not foster's to set. RWF_NOWAIT is for this one call. Terminals and
/// FIFOs do not know it, and say through poll(2) only that there is room for something, maybe not for a line, maybe not
/// any more; opened anew they have flags of foster's own. For everything else poll(2) says whether there is room.
///
/// # Errors
/// EAGAIN no room for all of it, EPIPE nobody reads (and a SIGPIPE of foster's own is then pending), EBADF closed, ENOSPC
/// full.
pub fn write_stderr(bytes: &[u8]) -> Result<(), Errno> {
    let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast::<c_void>(), iov_len: bytes.len() };
    // SAFETY: the iovec and the bytes live through the call, which only reads them. Offset -1 (both halves): here.
    let written = unsafe {
        libc::syscall(libc::SYS_pwritev2, libc::STDERR_FILENO, &raw const part, 1, -1_i64, -1_i64, libc::RWF_NOWAIT)
    };
    match Errno::result(written) {
        Ok(written) => return all_of(bytes, written),
        // No room, or not known here.
        Err(Errno::EAGAIN | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL | Errno::EPERM) => {}
        Err(other) => return Err(other),
    }
    if let Some(own) = stderr_opened_anew() {
        return write(own.as_raw_fd(), bytes);
    }
    let mut poll = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one pollfd, no waiting.
    if unsafe { libc::poll(&mut poll, 1, 0) } != 1 || poll.revents & libc::POLLOUT == 0 {
        return Err(Errno::EAGAIN);
    }
    write(libc::STDERR_FILENO, bytes)
}

/// The terminal or pipe that stderr is, opened once more so that a write cannot wait. `None`: it is something else, or may
/// not be opened, for example by another user than the one who owns it.
fn stderr_opened_anew() -> Option<OwnedFd> {
    // SAFETY: all zero is a valid stat.
    let mut stat: libc::stat = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: stat lives through the call.
    let known = unsafe { libc::fstat(libc::STDERR_FILENO, &mut stat) } == 0;
    if !known || !matches!(stat.st_mode & libc::S_IFMT, libc::S_IFCHR | libc::S_IFIFO) {
        return None;
    }
    let flags = libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the path is a C string.
    let fd = unsafe { libc::open(c"/proc/self/fd/2".as_ptr(), flags) };
    // SAFETY: the kernel has just made this descriptor for us.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

fn write(fd: c_int, bytes: &[u8]) -> Result<(), Errno> {
    // SAFETY: the bytes live through the call, which only reads them.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast::<c_void>(), bytes.len()) };
    all_of(bytes, Errno::result(written)?.try_into().unwrap_or(0))
}

/// A line of which only a part went through is lost.
fn all_of(bytes: &[u8], written: c_long) -> Result<(), Errno> {
    if usize::try_from(written).is_ok_and(|written| written == bytes.len()) { Ok(()) } else { Err(Errno::EAGAIN) }
}

/// Writes a text that was asked for to stdout, waiting as long as it takes.
///
/// # Errors
/// Whatever write(2) says: EPIPE, ENOSPC, EBADF.
pub fn write_stdout(mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        // SAFETY: the bytes live through the call, which only reads them.
        let written = unsafe { libc::write(libc::STDOUT_FILENO, bytes.as_ptr().cast::<c_void>(), bytes.len()) };
        let written = usize::try_from(Errno::result(written)?).unwrap_or(0);
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Ends this process by a signal, without a core dump: it is the command's end that is passed on, not a crash of
/// foster's own. Returns only if the signal could not do that, as in PID 1.
pub fn die_by(signal: Signal) {
    // RLIMIT_CORE 0 would still start a core_pattern pipe; not dumpable stops that too (core(5)).
    // An error of either leaves things as they are, and the caller exits with a code instead.
    let _ = prctl(libc::PR_SET_DUMPABLE, 0);
    let _ = set_disposition(signal, Disposition::Default);
    // Sent first and then let in: of all that may be pending only this one is.
    let _ = kill(pid(), signal);
    set_signal_mask(SignalSet::ALL.without(signal));
}

/// Who stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// This process.
    Alone,
    /// Its process group, as a terminal's Ctrl-Z would have it.
    WithGroup,
}

/// Stops this process by a signal, as its default action would; returns when it is continued. True if it was stopped: a
/// process group that no shell watches is not (the kernel would never have it continued).
///
/// Not if it was continued already: a stop signal deletes a SIGCONT that is waiting, and no second one would come.
pub fn stop_by(signal: Signal, whom: Stopped) -> bool {
    if is_pending(Signal::CONT) {
        return true;
    }
    // STOP needs no disposition; whatever goes wrong, foster just goes on.
    let _ = set_disposition(signal, Disposition::Default);
    // One signal that waits behind the mask, be it sent once or twice: this process stops once.
    let _ = match whom {
        Stopped::Alone => kill(pid(), signal),
        Stopped::WithGroup => signal_own_group(signal),
    };
    let blocked = set_signal_mask(SignalSet::ALL.without(signal));
    set_signal_mask(blocked);
    // What continued it is a SIGCONT, which is blocked and so still pending.
    is_pending(Signal::CONT)
}

fn is_pending(signal: Signal) -> bool {
    let mut pending = SignalSet::default();
    // SAFETY: the pointer is to a 64-bit mask that lives through the call.
    unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut pending.0, MASK_BYTES) };
    pending.contains(signal)
}

/// The time since some moment, which nobody can set (CLOCK_MONOTONIC).
pub fn monotonic_time() -> Duration {
    clock(libc::CLOCK_MONOTONIC)
}

/// The time since boot, suspended or not: what process start times count from (CLOCK_BOOTTIME).
pub fn since_boot() -> Duration {
    clock(libc::CLOCK_BOOTTIME)
}

/// By the system call and not through the vDSO, which saves one only from the third reading on: its pages are faulted in at
/// the start and unmapped at the end, and foster reads a clock about twice in its life.
fn clock(which: libc::clockid_t) -> Duration {
    // SAFETY: all zero is a valid timespec.
    let mut now: libc::timespec = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: now lives through the call, which cannot fail for a clock that every kernel has.
    unsafe { libc::syscall(libc::SYS_clock_gettime, which, &raw mut now) };
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// How many of /proc's clock ticks make a second.
pub fn ticks_per_second() -> u64 {
    // SAFETY: takes a constant.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100)
}

/// Enough for an ordinary start; pages that are not used cost nothing.
const ARENA_BYTES: usize = 64 * 1024;

/// The allocator of a process that has one thread: memory from the program's own bss, one piece after the other, and from
/// the C library what does not fit. musl's malloc makes five system calls and dirties as many pages before a start is
/// over; this makes none. The last piece can be given back or grow, which is how a text that is being read does it; any
/// other that is given back is lost, and foster allocates nothing for an event, so that is little and ends with the start.
///
/// In this order: behind the bytes, `used` would dirty a page of its own.
#[repr(C)]
pub struct Arena<E> {
    used: Cell<usize>,
    bytes: UnsafeCell<MaybeUninit<[u8; ARENA_BYTES]>>,
    exhausted: PhantomData<E>,
}

/// What to do when the C library has no memory left either; std's abort(3) would be a crash of PID 1 without a word. A type
/// and no value, which would put the arena into the program's file.
pub trait Exhausted {
    /// Must not allocate.
    fn exhausted() -> !;
}

impl<E: Exhausted> Default for Arena<E> {
    fn default() -> Arena<E> {
        Arena::new()
    }
}

// SAFETY: foster has one thread. The child of `vfork` shares its memory, but foster sleeps meanwhile, and the child
// allocates nothing.
unsafe impl<E> Sync for Arena<E> {}

impl<E: Exhausted> Arena<E> {
    /// An arena of which nothing is used.
    pub const fn new() -> Arena<E> {
        Arena { used: Cell::new(0), bytes: UnsafeCell::new(MaybeUninit::uninit()), exhausted: PhantomData }
    }

    fn checked(memory: *mut u8) -> *mut u8 {
        if memory.is_null() {
            E::exhausted()
        }
        memory
    }

    fn start(&self) -> *mut u8 {
        self.bytes.get().cast::<u8>()
    }

    /// Where this piece begins, if it is the arena's.
    fn offset_of(&self, piece: *mut u8) -> Option<usize> {
        piece.addr().checked_sub(self.start().addr()).filter(|offset| *offset < ARENA_BYTES)
    }

    /// Takes the next piece; `None`: it does not fit.
    fn take(&self, layout: Layout) -> Option<*mut u8> {
        let next = self.start().addr().checked_add(self.used.get())?.checked_next_multiple_of(layout.align())?;
        let offset = next.checked_sub(self.start().addr())?;
        let end = offset.checked_add(layout.size()).filter(|end| *end <= ARENA_BYTES)?;
        self.used.set(end);
        // SAFETY: offset and what follows it are within the arena, as just checked.
        Some(unsafe { self.start().add(offset) })
    }

    /// Whether this piece is the one that was taken last.
    fn is_last(&self, offset: usize, size: usize) -> bool {
        offset.checked_add(size) == Some(self.used.get())
    }
}

// SAFETY: pieces do not overlap, since `used` only goes back when the last one is given back; each is aligned as asked; and
// what is not the arena's is the C library's from its allocation to its end.
unsafe impl<E: Exhausted> GlobalAlloc for Arena<E> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about the layout.
        self.take(layout).unwrap_or_else(|| Self::checked(unsafe { System.alloc(layout) }))
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        match self.offset_of(piece) {
            Some(offset) if self.is_last(offset, layout.size()) => self.used.set(offset),
            Some(_) => {}
            // SAFETY: it came from there, with this layout.
            None => unsafe { System.dealloc(piece, layout) },
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = self.offset_of(piece) else {
            // SAFETY: it came from there, with this layout.
            return Self::checked(unsafe { System.realloc(piece, layout, size) });
        };
        let end = offset.checked_add(size).filter(|end| *end <= ARENA_BYTES);
        if let (true, Some(end)) = (self.is_last(offset, layout.size()), end) {
            self.used.set(end);
            return piece;
        }
        // SAFETY: the caller's promise: a size that with this alignment makes a layout. The two pieces do not overlap, and
        // both hold what is copied.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            ptr::copy_nonoverlapping(piece, moved, layout.size().min(size));
            self.dealloc(piece, layout);
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_late_text_is_prefix_and_number_and_ends() {
        let text = LateText::new();
        let shown = || text.0.iter().map(Cell::get).take_while(|b| *b != 0).map(char::from).collect::<String>();
        for number in [0, 1, 10, 4711, i32::MAX] {
            text.set(b"LISTEN_PID=", number);
            assert_eq!(shown(), format!("LISTEN_PID={number}"));
        }
        text.set(&[b'x'; 40], 1);
        assert_eq!(shown(), "x".repeat(31));
    }

    /// With SIGCONT, so that a machine survives a broken check.
    #[test]
    fn nobody_but_pid_1_signals_everybody() {
        assert_ne!(pid(), 1, "run the tests in the namespace of somebody else");
        assert_eq!(signal_everybody_else(Signal::CONT), Err(Errno::EPERM));
    }

    #[test]
    fn no_group_of_pid_1_or_less_is_ever_signalled() {
        for leader in [1, 0, -1, i32::MIN] {
            assert_eq!(send_to_group(leader, Signal::CONT, None), Err(Errno::ESRCH), "{leader}");
        }
    }

    struct NoMemory;

    impl Exhausted for NoMemory {
        fn exhausted() -> ! {
            panic!("no memory")
        }
    }

    proptest! {
        /// Pieces of many sizes, given back and grown in any order, beyond what the arena holds: each keeps its bytes.
        #[test]
        fn pieces_of_memory_are_aligned_and_never_overlap(
            steps in proptest::collection::vec((0_usize..3, 1_usize..9000, 0_u32..7, any::<proptest::sample::Index>()), 1..120),
        ) {
            let arena = Box::new(Arena::<NoMemory>::new());
            let mut pieces: Vec<(*mut u8, Layout, u8)> = Vec::new();
            for (mark, (what, size, align, which)) in steps.into_iter().enumerate() {
                let mark = mark as u8;
                let layout = Layout::from_size_align(size, 1 << align).expect("a layout");
                // SAFETY: each piece is used within its size and given back once, with its own layout.
                unsafe {
                    match what {
                        1 if !pieces.is_empty() => {
                            let (piece, layout, _) = pieces.swap_remove(which.index(pieces.len()));
                            arena.dealloc(piece, layout);
                        }
                        2 if !pieces.is_empty() => {
                            let (piece, old, old_mark) = pieces.swap_remove(which.index(pieces.len()));
                            let grown = arena.realloc(piece, old, size);
                            let kept = std::slice::from_raw_parts(grown, size.min(old.size()));
                            prop_assert!(kept.iter().all(|byte| *byte == old_mark));
                            ptr::write_bytes(grown, mark, size);
                            let layout = Layout::from_size_align(size, old.align()).expect("a layout");
                            pieces.push((grown, layout, mark));
                        }
                        _ => {
                            let piece = arena.alloc(layout);
                            ptr::write_bytes(piece, mark, size);
                            pieces.push((piece, layout, mark));
                        }
                    }
                    for (piece, layout, mark) in &pieces {
                        prop_assert_eq!(piece.addr() % layout.align(), 0);
                        let bytes = std::slice::from_raw_parts(*piece, layout.size());
                        prop_assert!(bytes.iter().all(|byte| byte == mark));
                    }
                }
            }
            for (piece, layout, _) in pieces {
                // SAFETY: as above.
                unsafe { arena.dealloc(piece, layout) };
            }
        }
    }

    #[test]
    fn the_last_piece_grows_in_place_and_is_given_back() {
        let arena = Box::new(Arena::<NoMemory>::new());
        let layout = Layout::from_size_align(100, 8).expect("a layout");
        // SAFETY: one piece, used within its size, given back once.
        unsafe {
            let piece = arena.alloc(layout);
            assert_eq!(arena.realloc(piece, layout, 5000), piece);
            arena.dealloc(piece, Layout::from_size_align(5000, 8).expect("a layout"));
        }
        assert_eq!(arena.offset_of(arena.start().wrapping_add(arena.used.get())), Some(0), "all of it is free again");
    }
}
