//! Counts what a process does, through ptrace(2): exact on every machine, where perf's counters are missing from most
//! virtual ones. Used by the tests of the budgets and by `benches/compare`.
//!
//! A tracee answers only to the thread that seized it, so one thread does all of it.
#![allow(unsafe_code)]
// Each of the two uses a part.
#![allow(dead_code)]

use std::ffi::{c_int, c_long};
use std::time::{Duration, Instant};

/// For a tracee to do something: far more than it takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// A process that is traced. It is killed when its tracer ends, and let go when this is dropped.
pub struct Tracee {
    pub pid: i32,
}

/// Why a tracee stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// At the entry to the system call with this number.
    Entry(u64),
    /// At the exit from a system call.
    Exit,
    /// It has made this child, which is traced too.
    Child(i32),
    /// It has executed a program.
    Exec,
    /// It is about to end, and still has its memory.
    Ending,
    /// After one instruction, or because it was interrupted, or when a new child begins.
    Trap,
    /// A signal is being delivered, which the next resumption hands on.
    Signal(c_int),
    /// It is dead.
    Ended,
}

/// How a tracee goes on, and where it will stop next apart from events.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    SystemCall,
    Instruction,
}

impl Tracee {
    /// Begins to trace; the process runs on until [`Tracee::interrupt`] or an event.
    pub fn seize(pid: i32) -> Tracee {
        let options = libc::PTRACE_O_TRACESYSGOOD
            | libc::PTRACE_O_TRACEEXEC
            | libc::PTRACE_O_TRACEFORK
            | libc::PTRACE_O_TRACEVFORK
            | libc::PTRACE_O_TRACECLONE
            | libc::PTRACE_O_TRACEEXIT
            | libc::PTRACE_O_EXITKILL;
        ptrace(libc::PTRACE_SEIZE, pid, 0, c_long::from(options));
        Tracee { pid }
    }

    /// Stops it where it is.
    pub fn interrupt(&self) {
        ptrace(libc::PTRACE_INTERRUPT, self.pid, 0, 0);
        // Inside of a system call it stops at that call's exit first, which is as good.
        while let signal @ Stop::Signal(_) = self.wait() {
            self.resume(Until::SystemCall, signal);
        }
    }

    /// Lets it go on from a stop, with the signal if that was why it stood.
    pub fn resume(&self, until: Until, from: Stop) {
        let request = match until {
            Until::SystemCall => libc::PTRACE_SYSCALL,
            Until::Instruction => libc::PTRACE_SINGLESTEP,
        };
        let signal = if let Stop::Signal(signal) = from { signal } else { 0 };
        ptrace(request, self.pid, 0, c_long::from(signal));
    }

    /// Where it stands.
    pub fn instruction_pointer(&self) -> u64 {
        // Its place among the general registers, as the kernel lays them out.
        const PLACE: usize = if cfg!(target_arch = "x86_64") { 16 } else { 32 };
        self.registers()[PLACE]
    }

    /// Where its stack ends, and the second argument of the system call that it is about to make.
    #[cfg(target_arch = "x86_64")]
    pub fn stack_pointer_and_second_argument(&self) -> (u64, u64) {
        let registers = self.registers();
        (registers[19], registers[13])
    }

    /// The general registers, as the kernel lays them out (`struct user_regs_struct`).
    fn registers(&self) -> [u64; 64] {
        const NT_PRSTATUS: c_long = 1;
        let mut registers = [0_u64; 64];
        let mut part = libc::iovec { iov_base: registers.as_mut_ptr().cast(), iov_len: size_of_val(&registers) };
        ptrace(libc::PTRACE_GETREGSET, self.pid, NT_PRSTATUS, &raw mut part as c_long);
        registers
    }

    /// Waits for the next stop.
    pub fn wait(&self) -> Stop {
        self.wait_unless(|| false).expect("it stops")
    }

    /// Waits for the next stop, or until something else is true: that it sleeps, say.
    pub fn wait_unless(&self, mut given_up: impl FnMut() -> bool) -> Option<Stop> {
        let start = Instant::now();
        loop {
            let mut status = 0;
            // SAFETY: status lives through the call.
            let waited = unsafe { libc::waitpid(self.pid, &mut status, libc::__WALL | libc::WNOHANG) };
            assert!(waited >= 0, "waitpid({}): {}", self.pid, std::io::Error::last_os_error());
            if waited > 0 {
                return Some(self.stop(status));
            }
            // Busy at first, since most stops come within microseconds.
            if start.elapsed() > Duration::from_millis(1) {
                if given_up() {
                    return None;
                }
                assert!(start.elapsed() < DEADLINE, "deadline: pid {} does not stop", self.pid);
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }

    fn stop(&self, status: c_int) -> Stop {
        if !libc::WIFSTOPPED(status) {
            return Stop::Ended;
        }
        match (status >> 16, libc::WSTOPSIG(status)) {
            (libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE, _) => {
                let mut child: libc::c_ulong = 0;
                ptrace(libc::PTRACE_GETEVENTMSG, self.pid, 0, &raw mut child as c_long);
                Stop::Child(i32::try_from(child).expect("a pid"))
            }
            (libc::PTRACE_EVENT_EXEC, _) => Stop::Exec,
            (libc::PTRACE_EVENT_EXIT, _) => Stop::Ending,
            (0, signal) if signal == libc::SIGTRAP | 0x80 => self.system_call(),
            (0, signal) if signal != libc::SIGTRAP => Stop::Signal(signal),
            _ => Stop::Trap,
        }
    }

    fn system_call(&self) -> Stop {
        // struct ptrace_syscall_info: the kind of stop is its first byte, the number of the call its fourth word.
        let mut info = [0_u64; 11];
        ptrace(GET_SYSCALL_INFO, self.pid, size_of_val(&info) as c_long, info.as_mut_ptr() as c_long);
        if info[0].to_ne_bytes()[0] == SYSCALL_ENTRY { Stop::Entry(info[3]) } else { Stop::Exit }
    }
}

/// PTRACE_GET_SYSCALL_INFO and PTRACE_SYSCALL_INFO_ENTRY, which the libc crate has for glibc alone.
const GET_SYSCALL_INFO: c_int = 0x420e;
const SYSCALL_ENTRY: u8 = 1;

impl Drop for Tracee {
    fn drop(&mut self) {
        // An error means that it is dead, or runs: then it is killed along with this process.
        // SAFETY: no pointer is passed.
        unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_DETACH, self.pid, 0, 0) };
    }
}

/// The system call itself, because the C libraries do not agree on the type of a request.
fn ptrace(request: impl Into<i64>, pid: i32, address: c_long, data: c_long) {
    let request = request.into();
    // SAFETY: each caller passes numbers, or the address of something that lives through the call and is large enough.
    let done = unsafe { libc::syscall(libc::SYS_ptrace, request, pid, address, data) };
    assert!(done >= 0, "ptrace({request:#x}, {pid}): {}", std::io::Error::last_os_error());
}

/// The numbers of the system calls of a start.
#[derive(Debug)]
pub struct StartCalls {
    /// After the init's own execve until that of its command, which is the last: its own until it has forked, then the
    /// child's. What an init does meanwhile, after a fork that does not wait, is not the start's.
    pub to_the_exec: Vec<u64>,
    /// The init's own from there until it sleeps, with the call that it sleeps in. `None`: it does not sleep.
    pub until_asleep: Option<Vec<u64>>,
}

/// `init` is about to execute the init, and does so when `go` is called.
pub fn system_calls_of_the_start(init: i32, go: impl FnOnce()) -> StartCalls {
    let init = Tracee::seize(init);
    go();
    run_to_exec(&init);
    let mut calls = Vec::new();
    let child = loop {
        match step(&init, Until::SystemCall) {
            Stop::Entry(number) => calls.push(number),
            Stop::Child(pid) => break Tracee { pid },
            Stop::Ended => panic!("it has ended without a child"),
            _ => {}
        }
    };
    assert_eq!(child.wait(), Stop::Trap);
    loop {
        match step(&child, Until::SystemCall) {
            Stop::Entry(number) => calls.push(number),
            Stop::Exec => break,
            Stop::Ended => panic!("the child has ended without an exec"),
            _ => {}
        }
    }
    // The child first: it may be that the init waits for it before it goes on.
    drop(child);
    StartCalls { to_the_exec: calls, until_asleep: calls_until_asleep(&init, SLEEPLESS) }
}

/// A new child, or thread, of a tracee is traced as well, and stops at its beginning.
pub fn let_go(pid: i32) {
    Tracee { pid }.wait();
}

/// Waits until a seized process has executed a program.
pub fn run_to_exec(tracee: &Tracee) {
    let mut stop = tracee.wait();
    while stop != Stop::Exec {
        assert_ne!(stop, Stop::Ended, "it has ended without an exec");
        tracee.resume(Until::SystemCall, stop);
        stop = tracee.wait();
    }
}

/// One step from a stop to the next, signals handed on.
pub fn step(tracee: &Tracee, until: Until) -> Stop {
    let mut from = Stop::Trap;
    loop {
        tracee.resume(until, from);
        match tracee.wait() {
            signal @ Stop::Signal(_) => from = signal,
            other => return other,
        }
    }
}

/// How many system calls an init makes from a moment in which it is asleep until it is asleep again, or has ended. It
/// is held while `happen` makes something happen, so what happens is there all at once when it wakes up. `None`: it does not
/// sleep again.
///
/// Being held costs an init that sleeps in a call for signals one interrupted call more.
pub fn system_calls_until_asleep(init: i32, happen: impl FnOnce()) -> Option<u64> {
    let init = Tracee::seize(init);
    init.interrupt();
    happen();
    calls_until_asleep(&init, 100 * SLEEPLESS).map(|calls| calls.len() as u64)
}

/// The same until something is done, for inits that never sleep. Looked at after every so many calls.
pub fn system_calls_until(init: i32, happen: impl FnOnce(), mut done: impl FnMut() -> bool) -> Option<u64> {
    let init = Tracee::seize(init);
    init.interrupt();
    happen();
    let mut calls = 0;
    while !done() {
        for _ in 0..64 {
            match step(&init, Until::SystemCall) {
                Stop::Entry(_) => calls += 1,
                Stop::Child(pid) => let_go(pid),
                Stop::Ended => return Some(calls),
                _ => {}
            }
        }
        if calls > 1000 * SLEEPLESS as u64 {
            return None;
        }
    }
    Some(calls)
}

/// The system calls of a program from its exec to its end. `pid` is about to execute it, and does so when `go` is called.
pub fn system_calls_of_a_run(pid: i32, go: impl FnOnce()) -> u64 {
    let tracee = Tracee::seize(pid);
    go();
    run_to_exec(&tracee);
    let mut calls = 0;
    loop {
        match step(&tracee, Until::SystemCall) {
            Stop::Entry(_) => calls += 1,
            Stop::Child(pid) => let_go(pid),
            Stop::Ended => return calls,
            _ => {}
        }
    }
}

/// An init that makes so many at its start does not sleep at all. When there is much to do it may be a hundred times more.
const SLEEPLESS: usize = 10_000;

/// The system calls of a tracee that is stopped until it sleeps, or has ended; `None` if there are more than `most`.
fn calls_until_asleep(init: &Tracee, most: usize) -> Option<Vec<u64>> {
    let mut calls = Vec::new();
    let mut stop = Stop::Trap;
    while calls.len() < most {
        init.resume(Until::SystemCall, stop);
        let mut asleep = None;
        let next = init.wait_unless(|| {
            let since = *asleep.get_or_insert_with(Instant::now);
            state(init.pid) == 'S' && since.elapsed() > Duration::from_millis(30)
        });
        match next {
            Some(Stop::Entry(number)) => calls.push(number),
            Some(Stop::Child(pid)) => let_go(pid),
            Some(Stop::Ended) => return Some(calls),
            Some(_) => {}
            None => {
                init.interrupt();
                return Some(calls);
            }
        }
        stop = next.unwrap_or(Stop::Trap);
    }
    None
}

/// Lets a process live until it is about to end, with all of its memory still there. It ends when what is returned is
/// dropped.
pub fn run_to_its_end(pid: i32, happen: impl FnOnce()) -> Tracee {
    let tracee = Tracee::seize(pid);
    happen();
    let mut stop = tracee.wait();
    while stop != Stop::Ending {
        assert_ne!(stop, Stop::Ended, "it has ended unseen");
        tracee.resume(Until::SystemCall, stop);
        stop = tracee.wait();
    }
    tracee
}

/// A process's state as proc_pid_stat(5) has it: `S` sleeping, `T` stopped, `Z` dead; `-` if it is gone.
pub fn state(pid: i32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('-')
}
