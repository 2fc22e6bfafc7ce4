//! Waiting for children, and starting one.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

use libc::c_long;
use nix::errno::Errno;

use crate::signal::Signal;

/// What wait4(2) tells of one child.
#[derive(Clone, Copy, Debug)]
pub struct Waited {
    /// Its process ID, free for reuse from now on if it died.
    pub pid: i32,
    /// The raw status.
    pub status: i32,
}

/// What a reaped child used, itself and the children that it waited for.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// User and system CPU time.
    pub cpu: Duration,
    /// Largest resident set in KiB.
    pub max_rss_kib: u64,
}

/// __WALL: also children whose parent cloned them with another exit signal than SIGCHLD (wait4(2)).
const ANY_CHILD: c_int = libc::WNOHANG | libc::WUNTRACED | libc::__WALL;

/// No child has news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoNews {
    /// There are children all the same.
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
pub fn reap_any() -> Result<Waited, NoNews> {
    wait4(-1, ptr::null_mut())
}

/// A child with news that nobody has taken yet.
#[derive(Clone, Copy, Debug)]
pub struct Peeked {
    /// Its process ID.
    pub pid: i32,
    /// It is dead. Otherwise it has stopped.
    pub died: bool,
}

/// Which child [`reap_any`] would take, without taking it: /proc still knows it. `None`: a sandbox refuses waitid(2), so
/// nobody can look. Raw, because nix's waitid decodes the status and loses the pid of a child that a real-time signal ended.
///
/// # Errors
/// There is no news.
pub fn peek_any() -> Result<Option<Peeked>, NoNews> {
    let options = libc::WEXITED | libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: all zero is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: info lives through the call, which writes the whole of it, or with no news leaves si_pid 0.
    let (returned, pid) = unsafe { (libc::waitid(libc::P_ALL, 0, &mut info, options), info.si_pid()) };
    // A stopped child, or a traced one that is trapped, lives.
    let died = matches!(info.si_code, libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED);
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
pub fn reap_with_usage(pid: Option<i32>) -> Result<(Waited, Usage), NoNews> {
    let mut usage = KernelRusage::default();
    let reaped = wait4(pid.unwrap_or(-1), &raw mut usage)?;
    let time = |[seconds, microseconds]: [c_long; 2]| {
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
            .saturating_add(Duration::from_micros(u64::try_from(microseconds).unwrap_or(0)))
    };
    let cpu = time(usage.user).saturating_add(time(usage.system));
    Ok((reaped, Usage { cpu, max_rss_kib: u64::try_from(usage.max_rss_kib).unwrap_or(0) }))
}

/// The kernel's rusage (include/uapi/linux/resource.h).
#[repr(C)]
#[derive(Default)]
struct KernelRusage {
    /// Seconds and microseconds.
    user: [c_long; 2],
    system: [c_long; 2],
    max_rss_kib: c_long,
    rest: [c_long; 13],
}

/// By the system call: nix's waitpid answers EINVAL for a child that a real-time signal ended, after it has reaped it, and the
/// wait4(3) that a program of 32 bits gets from musl fills in a usage only if it returns 0, which is no child.
/// `usage` is null or outlives the call.
fn wait4(pid: i32, usage: *mut KernelRusage) -> Result<Waited, NoNews> {
    let mut status = 0;
    loop {
        // SAFETY: status lives through the call, and so does usage, as every caller here sees to.
        let returned = unsafe { libc::syscall(libc::SYS_wait4, pid, &raw mut status, ANY_CHILD, usage) };
        match c_int::try_from(returned).unwrap_or(-1) {
            pid @ 1.. => return Ok(Waited { pid, status }),
            // A call that does not wait is not interrupted. Should it happen all the same, "no news" would lose a death.
            -1 if Errno::last() == Errno::EINTR => {}
            other => return Err(NoNews::from(other)),
        }
    }
}

/// Lets a traced child go on as if it were not traced: with the signal that it was stopped for. True if it was traced.
///
/// A child that calls ptrace(PTRACE_TRACEME) makes its parent the tracer, unasked. From then on each signal that it is sent
/// stops it, and wait4(2) tells of that as of a stop by this signal, whichever it is. PTRACE_DETACH ends the tracing and
/// delivers the signal. It fails with ESRCH for a child that is not traced, or gone.
pub fn release_traced(pid: i32, signal: Signal) -> bool {
    let deliver = if is_trap_of_exec(pid, signal) { 0 } else { signal.number() };
    // SAFETY: this request takes a number and no address. nix takes signals 1 to 31 alone.
    unsafe {
        libc::ptrace(
            libc::PTRACE_DETACH,
            pid,
            ptr::null_mut::<c_void>(),
            ptr::without_provenance_mut::<c_void>(usize::try_from(deliver).unwrap_or(0)),
        ) == 0
    }
}

/// ptrace(2) sends a traced process a SIGTRAP after its execve, which an untraced one would not get. The kernel sends it in
/// the name of the process itself (ptrace_event in include/linux/ptrace.h).
fn is_trap_of_exec(pid: i32, signal: Signal) -> bool {
    if signal.number() != libc::SIGTRAP {
        return false;
    }
    // SAFETY: all zero is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: info lives through the call, which writes a siginfo_t or fails.
    let read = unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, pid, ptr::null_mut::<c_void>(), &raw mut info) };
    // SAFETY: a SIGTRAP of this code has a sender.
    read == 0 && info.si_code == libc::SI_USER && unsafe { info.si_pid() } == pid
}

/// Whether a sandbox lets this process, whose ID is `own`, wait for children at all. An init that cannot do that would wait
/// for ever.
///
/// # Errors
/// What wait4(2) says instead of ECHILD, which is the answer to a process that asks for itself.
pub fn can_wait_for_children(own: i32) -> Result<(), Errno> {
    let (no_status, no_usage) = (ptr::null_mut::<c_int>(), ptr::null_mut::<KernelRusage>());
    // SAFETY: neither status nor usage is asked for.
    unsafe { libc::syscall(libc::SYS_wait4, own, no_status, libc::WNOHANG, no_usage) };
    failed_only_with(Errno::ECHILD)
}

/// Whether the call that has just failed did so in its usual way or was interrupted. Otherwise it was refused.
pub(super) fn failed_only_with(usual: Errno) -> Result<(), Errno> {
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
    /// The first place is free, for one more string in front.
    pointers: Vec<*const c_char>,
    strings: PhantomData<&'a CStr>,
}

impl<'a> CStrings<'a> {
    /// The strings in this order.
    pub fn new(strings: impl Iterator<Item = &'a CStr>) -> CStrings<'a> {
        let ends = [ptr::null()];
        let pointers = ends.into_iter().chain(strings.map(CStr::as_ptr)).chain(ends).collect();
        CStrings { pointers, strings: PhantomData }
    }

    /// Puts a text that is only known later at this place, if there is one.
    pub fn replace(&mut self, index: usize, text: &'a LateText) {
        let place = index.saturating_add(1);
        if place.saturating_add(1) < self.pointers.len()
            && let Some(pointer) = self.pointers.get_mut(place)
        {
            *pointer = text.0.as_ptr().cast::<c_char>();
        }
    }

    fn as_ptr(&self) -> *const *const c_char {
        self.pointers.get(1..).unwrap_or_default().as_ptr()
    }
}

/// A short C string whose text is set after the array that holds it was made. Always terminated.
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
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), environment.as_ptr()) };
    Errno::last()
}

/// Executes the shell with a script in the place of the first argument, and the rest behind it. Returns only to say why it
/// could not; then the arguments are no longer those of the command. Allocates nothing.
pub fn execute_shell(shell: &CStr, script: &CStr, args: &mut CStrings, environment: &CStrings) -> Errno {
    if let [first, second, ..] = args.pointers.as_mut_slice() {
        (*first, *second) = (shell.as_ptr(), script.as_ptr());
    }
    // SAFETY: as in `execve`, and the two new strings live through the call.
    unsafe { libc::execve(shell.as_ptr(), args.pointers.as_ptr(), environment.as_ptr()) };
    if let [_, second, ..] = args.pointers.as_mut_slice() {
        // The script's name may be gone when the array is looked at again.
        *second = ptr::null();
    }
    Errno::last()
}

/// The distance between the frame of `vfork` and the stack of its child: more than the C library's clone(3) uses for itself,
/// which is a few hundred bytes. `tests/suite/budgets.rs` measures how much of it is left in the program as it is shipped.
const CLONE_BYTES: usize = 1024;

/// Runs `child` in a new process that shares this one's memory, and sleeps until that process has executed a program or
/// ended. It ends with the status that `child` returns. Returns its process ID.
///
/// As with vfork(2), nothing is copied, and whatever `child` writes is seen here. foster sleeps, so it forwards no signal
/// before the exec. Under an emulator that makes a fork of it (qemu-user, linux-user/syscall.c) only the status tells what
/// went wrong.
///
/// The child runs below foster's own frames, as with vfork(2): a stack of its own would be one page more that stays foster's
/// for ever. It may use what the stack's limit (`ulimit -s`) leaves.
///
/// # Safety
/// This process has a single thread, and no signal handler that could run in the child. `child` makes system calls and
/// writes to memory that was there before: no allocation, no lock, no panic. It must not return to code that relies on its
/// destructors having run in this process.
///
/// # Errors
/// EAGAIN a limit on processes (RLIMIT_NPROC, pids.max), ENOMEM, or EPERM from a seccomp filter (clone(2)).
#[inline(never)]
pub unsafe fn vfork<F: FnMut() -> u8>(mut child: F) -> Result<i32, Errno> {
    extern "C" fn run<F: FnMut() -> u8>(child: *mut c_void) -> c_int {
        // SAFETY: the pointer is to the closure below, which outlives this process's use of it: the parent sleeps.
        let child = unsafe { &mut *child.cast::<F>() };
        let status = child();
        // SAFETY: ends this process alone, without the parent's atexit handlers.
        unsafe { libc::_exit(c_int::from(status)) }
    }
    let mut frame = MaybeUninit::<[u64; 2]>::uninit();
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: CLONE_VFORK keeps this process, which has a single thread, asleep until the child is done with the shared
    // memory, so the child is like a call. Its stack begins, aligned, below all that the sleeping parent uses. No handler
    // runs in it, as the caller has promised.
    let pid = unsafe {
        let stack = frame.as_mut_ptr().cast::<u8>().wrapping_sub(CLONE_BYTES);
        let stack = stack.wrapping_sub(stack.addr() % 16);
        let pid = libc::clone(run::<F>, stack.cast::<c_void>(), flags, (&raw mut child).cast::<c_void>());
        #[cfg(foster_sanitized)]
        sanitized::forget_frames_below(stack);
        pid
    };
    Errno::result(pid)
}

/// What AddressSanitizer has to be told, in the build that `make sanitize` makes.
#[cfg(foster_sanitized)]
mod sanitized {
    use std::ffi::{c_char, c_void};

    unsafe extern "C" {
        fn __asan_unpoison_memory_region(start: *const c_void, bytes: usize);
    }

    /// The child has left its frames by an exec, which AddressSanitizer does not see, so it takes that part of the stack for
    /// frames in use. Of vfork(2) it knows that.
    pub(super) fn forget_frames_below(stack: *const u8) {
        const BYTES: usize = 1 << 20;
        // SAFETY: marks addresses as usable, and touches nothing there.
        unsafe { __asan_unpoison_memory_region(stack.wrapping_sub(BYTES).cast(), BYTES) };
    }

    /// foster frees nothing at its end. And a frame on a stack that AddressSanitizer made up is given back when the child is
    /// seen to use another stack. Not by ASAN_OPTIONS, which the command would see.
    #[unsafe(no_mangle)]
    extern "C" fn __asan_default_options() -> *const c_char {
        c"detect_leaks=0:detect_stack_use_after_return=0".as_ptr()
    }
}

#[cfg(test)]
mod tests {
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
}
