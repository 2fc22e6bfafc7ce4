//! Running an init, each as PID 1 of a namespace of its own or as a subreaper, with the fixture as its command.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsStr};
use std::io::{PipeReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// For one answer: far more than any takes, so that only what is broken meets it. Less than the fixture's own, so that
/// what is broken is still there to be looked at.
const DEADLINE: Duration = Duration::from_secs(15);

/// The same for everybody, whoever runs this: that of a container of Docker's python image.
pub const ENVIRONMENT: [&CStr; 8] = [
    c"PATH=/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    c"HOSTNAME=3f2a9d7c51e8",
    c"TERM=xterm",
    c"LANG=C.UTF-8",
    c"GPG_KEY=7169605F62C751356D054A26A821E680E5FA6305",
    c"PYTHON_VERSION=3.13.1",
    c"PYTHON_SHA256=9cf9427bee9e2242e3877dd0f6b641c1853ca461f39d6503ce260a59c80bf0d9",
    c"HOME=/root",
];

/// Something that runs a command: an init, or nothing (bare fork and exec).
#[derive(Clone, Debug)]
pub struct Subject {
    pub name: String,
    /// Its program and options, before the command.
    pub words: Vec<PathBuf>,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Foster,
    Peer,
    /// The least that an init can be (benches/floor.c).
    Floor,
    /// What only helps to measure.
    Helper,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// As PID 1 of a namespace.
    Pid1,
    /// As a child of this program.
    Child,
}

/// A running init. Dropping it ends it, and as PID 1 with it all of its namespace.
pub struct Running {
    pub pid: i32,
    out: PipeReader,
    ended: bool,
}

/// What an init is started with.
#[derive(Clone, Debug)]
pub struct Launch {
    pub place: Place,
    /// As PID 1, with a /proc that is its namespace's, as in a container. Without one an init cannot tell who is whose child.
    pub has_proc: bool,
    /// Another program that comes first and executes the init.
    before: Vec<CString>,
    /// The command and its arguments.
    pub command: Vec<CString>,
    pub environment: Vec<CString>,
}

impl Launch {
    /// The fixture in this mode as the command.
    pub fn new(place: Place, fixture: &Path, mode: &[&str]) -> Launch {
        let command = [c_string(fixture)].into_iter().chain(mode.iter().map(c_string));
        let environment = ENVIRONMENT.map(CStr::to_owned).to_vec();
        Launch { place, has_proc: false, before: Vec::new(), command: command.collect(), environment }
    }

    pub fn with_proc(mut self) -> Launch {
        self.has_proc = true;
        self
    }

    pub fn after(mut self, before: &[&Path]) -> Launch {
        self.before = before.iter().map(c_string).collect();
        self
    }
}

pub fn c_string(word: impl AsRef<OsStr>) -> CString {
    CString::new(word.as_ref().as_bytes()).expect("no NUL")
}

impl Subject {
    /// Starts it with the fixture in this mode as its command.
    pub fn start(&self, place: Place, fixture: &Path, mode: &[&str]) -> Running {
        self.launch(&Launch::new(place, fixture, mode))
    }

    pub fn launch(&self, launch: &Launch) -> Running {
        let own: Vec<CString> = self.words.iter().map(c_string).collect();
        let words = launch.before.iter().chain(&own).chain(&launch.command);
        let pointers: Vec<_> = words.map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
        let environment: Vec<_> =
            launch.environment.iter().map(|entry| entry.as_ptr()).chain([std::ptr::null()]).collect();
        let (out, writer) = std::io::pipe().expect("a pipe");
        let devnull = std::fs::File::options().read(true).write(true).open("/dev/null").expect("/dev/null");
        let (devnull, out_fd) = (devnull.as_raw_fd(), writer.as_raw_fd());
        // What peers say about signals and orphans that they do not know fills pages.
        let is_silent = self.kind == Kind::Peer;
        let namespaces = match launch.place {
            Place::Pid1 if launch.has_proc => libc::CLONE_NEWPID | libc::CLONE_NEWNS,
            Place::Pid1 => libc::CLONE_NEWPID,
            Place::Child => 0,
        };
        let mounts_proc = namespaces & libc::CLONE_NEWNS != 0;
        // SAFETY: as fork(2): this process has one thread, and the child only makes system calls until its exec.
        let pid = unsafe {
            let pid = libc::syscall(libc::SYS_clone, namespaces | libc::SIGCHLD, 0, 0, 0, 0);
            if pid == 0 {
                libc::dup2(devnull, 0);
                libc::dup2(out_fd, 1);
                if is_silent {
                    libc::dup2(devnull, 2);
                }
                let proc = c"proc".as_ptr();
                if mounts_proc && libc::mount(proc, c"/proc".as_ptr(), proc, 0, std::ptr::null()) != 0 {
                    libc::_exit(126);
                }
                libc::execve(pointers[0], pointers.as_ptr(), environment.as_ptr());
                libc::_exit(127);
            }
            pid
        };
        assert!(pid > 0, "clone: {}", std::io::Error::last_os_error());
        Running { pid: pid as i32, out, ended: false }
    }
}

impl Running {
    /// Reads exactly so much, or `None` when it ends or does not come.
    pub fn read<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.read_within(DEADLINE)
    }

    /// Reads exactly so much within this time.
    pub fn read_within<const N: usize>(&mut self, span: Duration) -> Option<[u8; N]> {
        let mut poll = libc::pollfd { fd: self.out.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd that lives through the call.
        let ready = unsafe { libc::poll(&mut poll, 1, span.as_millis() as i32) };
        let mut bytes = [0; N];
        (ready == 1 && self.out.read_exact(&mut bytes).is_ok()).then_some(bytes)
    }

    /// The time that the fixture's `ping` says, if it does so soon.
    pub fn stamp(&mut self) -> Option<i64> {
        self.read_within(Duration::from_millis(200)).map(i64::from_ne_bytes)
    }

    /// A line that the fixture says.
    pub fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            match self.read()? {
                [b'\n'] => return String::from_utf8(line).ok(),
                [byte] => line.push(byte),
            }
        }
    }

    /// Sends the init a signal.
    pub fn signal(&self, signal: i32) {
        signal_one(self.pid, signal);
    }

    /// The process that runs the command, which is the init's first child; a bare command is that itself.
    pub fn command(&self) -> i32 {
        children(self.pid).first().copied().unwrap_or(self.pid)
    }

    /// Waits for the init's end, asleep; false if it does not come.
    pub fn wait(&mut self) -> bool {
        if !self.ended {
            // SAFETY: no pointer is passed. -1: the tracer, which is this process too, has reaped it.
            let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, self.pid, 0) } as i32;
            let mut poll = libc::pollfd { fd: pidfd, events: libc::POLLIN, revents: 0 };
            // SAFETY: one pollfd that lives through the call; no status is asked for; the descriptor is this function's.
            unsafe {
                self.ended = pidfd < 0 || libc::poll(&mut poll, 1, DEADLINE.as_millis() as i32) == 1;
                if self.ended {
                    libc::waitpid(self.pid, std::ptr::null_mut(), 0);
                }
                libc::close(pidfd);
            }
        }
        self.ended
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            let children = children(self.pid);
            self.signal(libc::SIGKILL);
            self.wait();
            // What an init that is no PID 1 leaves is this program's.
            for child in children {
                signal_one(child, libc::SIGKILL);
                // SAFETY: no status is asked for; where the namespace's end has ended it, there is nothing to wait for.
                unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            }
        }
    }
}

/// Measures something with this program and all that it starts on one core. With two, how long a stop takes is mostly on
/// which of them the kernel wakes whom, and how deeply that one slept: that differs more from run to run than from init to
/// init.
pub fn on_one_core<T>(measure: impl FnOnce() -> T) -> T {
    // SAFETY: all zero is an empty set, as large as the calls are told, and lives through them.
    unsafe {
        let (mut all, mut one): (libc::cpu_set_t, libc::cpu_set_t) = std::mem::zeroed();
        let size = size_of::<libc::cpu_set_t>();
        assert_eq!(libc::sched_getaffinity(0, size, &mut all), 0);
        libc::CPU_SET(libc::sched_getcpu() as usize, &mut one);
        assert_eq!(libc::sched_setaffinity(0, size, &one), 0);
        let measured = measure();
        assert_eq!(libc::sched_setaffinity(0, size, &all), 0);
        measured
    }
}

/// A cgroup of the CPU's for this program and all that it starts, as every container has one. In the root cgroup the kernel
/// schedules each session as a group of its own instead (sched(7), autogroup): an init that gives its command one, as
/// dumb-init does, then takes half of the time that the others do for a signal, and the same in a container.
pub struct CpuCgroup {
    directory: PathBuf,
    parent: PathBuf,
}

impl CpuCgroup {
    /// Joins a new one, until this is dropped.
    pub fn join() -> std::io::Result<CpuCgroup> {
        let (_, parent) = own_cgroup("cpu")?.ok_or(std::io::ErrorKind::NotFound)?;
        let cgroup = CpuCgroup { directory: parent.join(format!("foster-bench-{}", now())), parent };
        std::fs::create_dir(&cgroup.directory)?;
        std::fs::metadata(cgroup.directory.join(if is_v2() { "cpu.weight" } else { "cpu.shares" }))?;
        move_into(&cgroup.directory)?;
        Ok(cgroup)
    }
}

impl Drop for CpuCgroup {
    fn drop(&mut self) {
        // Whatever fails here leaves an empty directory behind.
        let _ = move_into(&self.parent).and_then(|()| std::fs::remove_dir(&self.directory));
    }
}

fn move_into(cgroup: &Path) -> std::io::Result<()> {
    std::fs::write(cgroup.join("cgroup.procs"), "0")
}

fn is_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Where the hierarchy with this controller is mounted, and this program's own cgroup there.
fn own_cgroup(controller: &str) -> std::io::Result<Option<(PathBuf, PathBuf)>> {
    let cgroups = std::fs::read_to_string("/proc/self/cgroup")?;
    let v2 = is_v2();
    let own = cgroups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(":/")?;
        let is_it = if v2 { controllers.is_empty() } else { controllers.split(',').any(|name| name == controller) };
        is_it.then_some(path)
    });
    let top = Path::new("/sys/fs/cgroup").join(if v2 { "" } else { controller });
    Ok(own.map(|own| (top.clone(), top.join(own))))
}

/// Shows this program's own cgroup in the place of the hierarchy's root, as a container sees it.
pub fn see_the_own_cgroup_alone() -> std::io::Result<()> {
    let (top, own) = own_cgroup("memory")?.ok_or(std::io::ErrorKind::NotFound)?;
    let (own, top) = (c_string(own), c_string(top));
    let none = std::ptr::null();
    // SAFETY: the paths live through the call; a bind mount has neither type nor data.
    match unsafe { libc::mount(own.as_ptr(), top.as_ptr(), none, libc::MS_BIND, none.cast()) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Sends a signal to one process: never a group, never everybody.
pub fn signal_one(pid: i32, signal: i32) {
    assert!(pid > 1, "a single process");
    // SAFETY: no pointer is passed. ESRCH: it has ended, which whoever waits for it will see.
    unsafe { libc::kill(pid, signal) };
}

/// Queues a signal with a payload.
pub fn queue(pid: i32, signal: i32) {
    assert!(pid > 1, "a single process");
    // SAFETY: no pointer is dereferenced.
    let sent = unsafe { libc::sigqueue(pid, signal, libc::sigval { sival_ptr: std::ptr::null_mut() }) };
    assert_eq!(sent, 0, "sigqueue: {}", std::io::Error::last_os_error());
}

pub fn children(pid: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// How many of a process's children are zombies.
pub fn zombies(pid: i32) -> usize {
    children(pid).into_iter().filter(|child| crate::tracer::state(*child) == 'Z').count()
}

/// Waits until something is true; false if that does not come.
pub fn poll(mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > DEADLINE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// The clock that the fixture's `ping` reads, in nanoseconds.
pub fn now() -> i64 {
    // SAFETY: all zero is a valid timespec, which lives through the call.
    unsafe {
        let mut now: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now);
        now.tv_sec * 1_000_000_000 + now.tv_nsec
    }
}
