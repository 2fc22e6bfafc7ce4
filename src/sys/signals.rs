//! Signals. Raw system calls with the kernel's own 64-bit mask: musl's sigset functions leave out 32 to 34, and nix knows
//! no real-time signal at all.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use libc::c_long;
use nix::errno::Errno;
use nix::sys::prctl;

use super::pid;
use crate::signal::{Delivery, Payload, Sender, Signal, SignalSet};

/// The kernel's siginfo_t, for what another process sends (include/uapi/asm-generic/siginfo.h).
#[repr(C)]
struct SigInfo {
    signo: c_int,
    errno: c_int,
    code: c_int,
    /// The union that follows has pointers in it, and begins where one may stand.
    #[cfg(target_pointer_width = "64")]
    pad: c_int,
    pid: c_int,
    uid: u32,
    value: usize,
    rest: [usize; REST],
}

/// A siginfo_t is 128 bytes long everywhere. Before the value there are five ints, and the pad where there is one.
const REST: usize = if cfg!(target_pointer_width = "64") { 12 } else { 26 };
const _: () = assert!(size_of::<SigInfo>() == 128 && align_of::<SigInfo>() == size_of::<usize>());

// MIPS, SPARC, Alpha and PA-RISC have other numbers than signal.rs.
const _: () = assert!(libc::SIGCHLD == 17 && libc::SIGCONT == 18 && libc::SIGSTOP == 19 && libc::SIGTSTP == 20);
const _: () = assert!(libc::SIGTTIN == 21 && libc::SIGTTOU == 22 && libc::SIGPIPE == 13 && libc::SIGKILL == 9);

// The kernel has a mask of 64 signals as machine words, the lowest first. A u64 is the same, but on machines that have 32 bits
// and put the highest byte first.
const _: () = assert!(cfg!(target_pointer_width = "64") || cfg!(target_endian = "little"));

/// The size of the kernel's signal mask. Its system calls want to be told.
const MASK_BYTES: usize = size_of::<SignalSet>();

/// The kernel's sigaction, as words: the handler first, then flags, restorer and mask, in whichever order the machine has them.
/// The mask has 64 bits on every machine, so it is two words where a word has 32.
type KernelSigaction = [usize; 3 + MASK_BYTES / size_of::<usize>()];

/// The kernel's timespec, as the calls have it that every kernel knows. The C library's own may have 64 bits on a machine of
/// 32, for other calls than those, or for the same ones: that depends on its version.
#[repr(C)]
pub(super) struct KernelTimespec {
    pub(super) seconds: c_long,
    pub(super) nanoseconds: c_long,
}

impl From<Duration> for KernelTimespec {
    /// On 32 bits 68 years are for ever.
    fn from(time: Duration) -> KernelTimespec {
        let seconds = c_long::try_from(time.as_secs()).unwrap_or(c_long::MAX);
        KernelTimespec { seconds, nanoseconds: time.subsec_nanos() as c_long }
    }
}

/// Blocks every signal, 32 to 34 included, and returns the mask that was in force. KILL and STOP cannot be blocked.
///
/// # Errors
/// A sandbox refuses rt_sigprocmask(2).
pub fn block_all_signals() -> Result<SignalSet, Errno> {
    swap_signal_mask(SignalSet::ALL)
}

/// Sets the signal mask, and returns the one that was in force. Where that could be done once, it can be done again.
pub fn set_signal_mask(mask: SignalSet) -> SignalSet {
    swap_signal_mask(mask).unwrap_or_default()
}

/// rt_sigprocmask(2), which with these arguments only a sandbox can refuse.
fn swap_signal_mask(mask: SignalSet) -> Result<SignalSet, Errno> {
    let mut old = SignalSet::default();
    // SAFETY: both pointers are to 64-bit masks that live through the call.
    let done = unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask.0, &raw mut old.0, MASK_BYTES)
    };
    Errno::result(done).map(|_| old)
}

/// What the kernel does with a signal that is not blocked. foster installs no handler, so there are just two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    Default,
    Ignored,
}

/// Sets a signal's disposition and returns the one before.
///
/// # Errors
/// EINVAL for KILL and STOP (sigaction(2)).
pub fn set_disposition(signal: Signal, disposition: Disposition) -> Result<Disposition, Errno> {
    let handler = match disposition {
        Disposition::Default => libc::SIG_DFL,
        Disposition::Ignored => libc::SIG_IGN,
    };
    let mut new = KernelSigaction::default();
    new[0] = handler;
    sigaction(signal, Some(&new))
}

/// What the kernel does with this signal now.
pub fn disposition(signal: Signal) -> Disposition {
    sigaction(signal, None).unwrap_or(Disposition::Default)
}

/// The disposition before, and the new one if there is one. Raw, because musl's sigaction(3) refuses 32 to 34.
fn sigaction(signal: Signal, new: Option<&KernelSigaction>) -> Result<Disposition, Errno> {
    let new = new.map_or(ptr::null(), ptr::from_ref);
    let mut old = KernelSigaction::default();
    // SAFETY: both are as large as the kernel's structure and live through the call; no handler is installed.
    let done = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal.number(), new, &raw mut old, MASK_BYTES) };
    Errno::result(done)?;
    let [handler, ..] = old;
    Ok(if handler == libc::SIG_IGN { Disposition::Ignored } else { Disposition::Default })
}

/// Waits until one of these signals is pending and takes it. `None` after `timeout`, or when the wait was interrupted by something that
/// is no signal to us (a stop and continue). Without a timeout it may sleep for ever.
///
/// One system call takes the signal together with its siginfo, in the kernel's order, and never drops a queued one.
pub fn wait_for_signal(mask: SignalSet, timeout: Option<Duration>) -> Option<Delivery> {
    let mut info = MaybeUninit::<SigInfo>::uninit();
    let timeout = timeout.map(KernelTimespec::from);
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: mask and timeout live through the call, info is large enough for the siginfo_t that it writes.
    let number =
        unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const mask.0, info.as_mut_ptr(), timeout, MASK_BYTES) };
    let signal = Signal::new(i32::try_from(number).ok()?)?;
    // SAFETY: on success the kernel has written the whole structure.
    Some(delivery(signal, unsafe { info.assume_init_ref() }))
}

/// Reads the origin out of a siginfo. The kernel writes it for kill(2), which is SI_USER, for tgkill(2), which is SI_TKILL,
/// and for positive codes. Any other negative code may have been written by whoever queued the signal: rt_sigqueueinfo(2)
/// refuses only those that the kernel vouches for (do_rt_sigqueueinfo in kernel/signal.c).
fn delivery(signal: Signal, info: &SigInfo) -> Delivery {
    let is_queued = info.code < 0 && info.code != libc::SI_TKILL;
    let sender = match info.code {
        1.. => Sender::Kernel,
        _ if is_queued => Sender::Claimed { pid: info.pid, uid: info.uid, name: None },
        _ if info.pid == 0 => Sender::Outside,
        _ if info.pid == pid() => Sender::Myself,
        _ => Sender::Process { pid: info.pid, uid: info.uid, name: None },
    };
    let payload = is_queued.then_some(Payload { code: info.code, pid: info.pid, uid: info.uid, value: info.value });
    Delivery { signal, sender, payload }
}

/// Whether this process may wait for signals at all. Takes none.
///
/// # Errors
/// What rt_sigtimedwait(2) says instead of EAGAIN, when a sandbox refuses it.
pub fn can_wait_for_signals() -> Result<(), Errno> {
    let (none, at_once) = (SignalSet::default(), KernelTimespec::from(Duration::ZERO));
    let no_info = ptr::null_mut::<SigInfo>();
    // SAFETY: mask and timeout live through the call; no siginfo is asked for.
    unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const none.0, no_info, &raw const at_once, MASK_BYTES) };
    super::failed_only_with(Errno::EAGAIN)
}

/// Throws away what is pending for this process. Only for the child between fork and exec: whatever hit it there hit the
/// whole process group that it had just been in, foster included, and foster forwards its own copy.
///
/// # Errors
/// A sandbox refuses rt_sigtimedwait(2), by which foster itself waits for everything.
pub fn discard_pending_signals() -> Result<(), Errno> {
    while wait_for_signal(SignalSet::ALL, Some(Duration::ZERO)).is_some() {}
    super::failed_only_with(Errno::EAGAIN)
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
/// A payload reaches a group only through pidfd_send_signal(2) with PIDFD_SIGNAL_PROCESS_GROUP (Linux 6.9). On an older
/// kernel the signal goes without it.
///
/// # Errors
/// As [`send`]; ESRCH also when the process leads no group (any more).
pub fn send_to_group(leader: i32, signal: Signal, payload: Option<Payload>) -> Result<(), Errno> {
    if let Some(payload) = payload
        && queue_to_group(leader, signal, payload).is_ok()
    {
        return Ok(());
    }
    // kill(-1) means every process there is, and the groups 1 and 0 are init's and the caller's own.
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
    SigInfo {
        signo: signal.number(),
        errno: 0,
        code,
        #[cfg(target_pointer_width = "64")]
        pad: 0,
        pid,
        uid,
        value,
        rest: [0; REST],
    }
}

/// Sends a signal to every process in the namespace but this one. Only PID 1 may: kill(-1) by anybody else reaches the
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

/// A process that can be signalled without the danger that its pid is reused meanwhile (pidfd_open(2)).
pub struct Pidfd(OwnedFd);

impl Pidfd {
    /// Opens it. Raw, because nix has no pidfd.
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

/// Raw, because nix's kill takes signals 1 to 31 alone.
fn kill(target: i32, signal: Signal) -> Result<(), Errno> {
    // SAFETY: no pointer is passed.
    Errno::result(unsafe { libc::kill(target, signal.number()) }).map(drop)
}

/// Ends this process by a signal, without a core dump: it passes on the command's end, and is no crash of foster's own.
/// Returns only if the signal could not do that, as in PID 1.
pub fn die_by(signal: Signal) {
    // RLIMIT_CORE 0 would still start a core_pattern pipe; not dumpable stops that too (core(5)). If either call fails,
    // things stay as they are, and the caller exits with a code instead.
    let _ = prctl::set_dumpable(false);
    let _ = set_disposition(signal, Disposition::Default);
    // Sent first and let in afterwards: of all signals that may be pending, only this one is let in.
    let _ = kill(pid(), signal);
    set_signal_mask(SignalSet::ALL.without(signal));
}

/// Which processes stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    Myself,
    /// This process and all others of its process group, as a terminal's Ctrl-Z would have it.
    MyGroup,
}

/// Stops this process by a signal, as the signal's default action does, and returns when it is continued. True if it was
/// stopped. The kernel does not stop a process group that no shell watches, since nobody would ever continue it. A signal
/// that stops nobody is refused: by its default action it could end this process.
///
/// Does nothing if a SIGCONT is waiting already: a stop signal deletes it, and no second one would come.
pub fn stop_by(signal: Signal, whom: Whom) -> bool {
    if !signal.is_stop() {
        return false;
    }
    if is_pending(Signal::CONT) {
        return true;
    }
    // EINVAL for STOP, which needs no disposition.
    let _ = set_disposition(signal, Disposition::Default);
    // The signal waits behind the mask, be it sent once or twice, so this process stops once. If it could not be sent,
    // nothing stops, and foster goes on.
    let _ = match whom {
        Whom::Myself => kill(pid(), signal),
        Whom::MyGroup => signal_own_group(signal),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel writes as much as it has: a structure that is too short would be written beyond its end.
    #[test]
    fn the_kernels_sigaction_has_just_this_size() {
        const UNTOUCHED: usize = 0x5a5a_5a5a;
        const WORDS: usize = size_of::<KernelSigaction>() / size_of::<usize>();
        let mut old = [UNTOUCHED; WORDS + 4];
        let none = ptr::null::<usize>();
        // SAFETY: old is longer than the kernel's structure, and lives through the call.
        let asked = unsafe { libc::syscall(libc::SYS_rt_sigaction, 10, none, &raw mut old, MASK_BYTES) };
        assert_eq!(asked, 0);
        let written = old.iter().rposition(|word| *word != UNTOUCHED).map(|last| last + 1);
        // Where there is no restorer, the mask is a word earlier.
        assert!(written <= Some(WORDS) && written >= Some(WORDS - 1), "{written:?}");
    }

    /// What one process queues for itself comes back as it was, and says who sent it.
    #[test]
    fn a_siginfo_is_the_kernels() {
        let signal = Signal::new(40).expect("a signal");
        let blocked = set_signal_mask(SignalSet::ALL);
        let payload = Payload { code: -1, pid: 4711, uid: 70_000, value: usize::MAX - 5 };
        // To this thread, since other tests' threads would take it too.
        let info = sig_info(signal, payload);
        // SAFETY: takes numbers, and a siginfo that is only read.
        let sent = unsafe {
            let thread = libc::syscall(libc::SYS_gettid);
            libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid(), thread, signal.number(), &raw const info)
        };
        assert_eq!(sent, 0);
        let delivery = wait_for_signal(SignalSet::ALL, Some(Duration::from_secs(30))).expect("a signal");
        assert_eq!((delivery.signal, delivery.payload), (signal, Some(payload)));
        assert_eq!(delivery.sender, Sender::Claimed { pid: 4711, uid: 70_000, name: None });
        set_signal_mask(blocked);
    }

    /// A timespec of another size would be another time, or none that the kernel takes.
    #[test]
    fn a_wait_lasts_as_long_as_it_is_told() {
        let (time, start) = (Duration::from_millis(1_030), std::time::Instant::now());
        assert_eq!(wait_for_signal(SignalSet::default(), Some(time)).map(|delivery| delivery.signal), None);
        assert!(start.elapsed() >= time && start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
        assert_eq!(can_wait_for_signals(), Ok(()));
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
}
