//! Runs foster in a PID namespace of its own, with a deadline on everything and nothing left behind.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use crate::tracer::state;

/// For one step of a test: far more than any takes, so that only what hangs meets it.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// For a test that keeps every processor busy for seconds. Two of them at once would not test foster's deadlines but how the
/// kernel shares the processors among hundreds of hostile processes.
pub fn with_all_processors() -> MutexGuard<'static, ()> {
    static PROCESSORS: Mutex<()> = Mutex::new(());
    PROCESSORS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where foster runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// As PID 1 of the namespace.
    Pid1,
    /// As the child of another PID 1, the fixture's `outer`.
    Subreaper,
}

impl Place {
    /// What foster calls that which sends signals from outside.
    pub fn outside(self) -> &'static str {
        match self {
            Place::Pid1 => "outside the container",
            Place::Subreaper => "outside this PID namespace",
        }
    }
}

pub const PLACES: [Place; 2] = [Place::Pid1, Place::Subreaper];

/// The binaries under test: TEST_BINARIES (colons between them), which `make test` sets to the release builds for
/// musl and gnu; otherwise the one that cargo built for this test.
pub fn binaries() -> Vec<PathBuf> {
    match std::env::var("TEST_BINARIES") {
        Ok(list) if !list.is_empty() => list.split(':').map(PathBuf::from).collect(),
        _ => vec![PathBuf::from(env!("CARGO_BIN_EXE_foster"))],
    }
}

/// Runs a test for every binary in every place, where namespaces can be had, and says which one failed.
pub fn everywhere(test: impl Fn(&Path, Place)) {
    if !namespaces() {
        return;
    }
    for binary in binaries() {
        for place in PLACES {
            let context = Context(format!("{} as {place:?}", binary.display()));
            test(&binary, place);
            drop(context);
        }
    }
}

/// Names the combination when a test panics in it.
pub struct Context(pub String);

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with {}", self.0);
        }
    }
}

/// `tests/fixtures/fixture`, which cargo builds along with the tests.
pub fn fixture() -> PathBuf {
    example("fixture")
}

/// A program of `tests/fixtures`.
pub fn example(name: &str) -> PathBuf {
    let deps = std::env::current_exe().expect("the test's own path");
    let path = deps.ancestors().nth(2).expect("target/PROFILE/deps/suite-HASH").join("examples").join(name);
    assert!(path.exists(), "{} is missing: cargo build --examples", path.display());
    path
}

/// Whether a user and PID namespace can be had here. In CI it must.
pub fn namespaces() -> bool {
    static POSSIBLE: LazyLock<bool> = LazyLock::new(|| {
        let possible = unshare(true).arg("true").output().is_ok_and(|output| output.status.success());
        assert!(possible || std::env::var_os("CI").is_none(), "CI, and no PID namespace can be made");
        if !possible {
            skipped("no PID namespace can be made here (unshare --user --pid), so foster is not run");
        }
        possible
    });
    *POSSIBLE
}

/// Whether this is the machine's root, or that of a container, who may have other users and cgroups.
pub fn runs_as_root() -> bool {
    std::fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t0")
}

/// A build for musl, by the directory that cargo has put it into.
pub fn is_musl(binary: &Path) -> bool {
    binary.to_string_lossy().contains("-musl/")
}

/// Says what is not tested here. Not with eprintln!, which cargo test shows of a failing test only.
pub fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}");
}

/// With every disposition at its default, whatever the tests were started with: a shell starts what it puts into the
/// background with SIGINT and SIGQUIT ignored, and nohup(1) ignores SIGHUP.
fn unshare(user: bool) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal", "unshare"]);
    if user {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "--"]);
    command
}

/// How foster ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Exited(i32),
    /// By a signal; only possible when it is not PID 1.
    Killed(i32),
}

/// A foster to be run.
#[derive(Clone)]
pub struct Foster {
    binary: PathBuf,
    place: Place,
    options: Vec<OsString>,
    before: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    not_inherited: Vec<OsString>,
    own_user_namespace: bool,
}

impl Foster {
    pub fn new(binary: &Path, place: Place) -> Foster {
        let (options, before) = (Vec::new(), Vec::new());
        let (environment, not_inherited) = (Vec::new(), vec!["FOSTER_LOG".into()]);
        Foster { binary: binary.into(), place, options, before, environment, not_inherited, own_user_namespace: true }
    }

    pub fn option(mut self, option: impl AsRef<OsStr>) -> Foster {
        self.options.push(option.as_ref().into());
        self
    }

    pub fn options(self, options: &[&str]) -> Foster {
        options.iter().fold(self, Foster::option)
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Foster {
        self.environment.push((name.into(), value.as_ref().into()));
        self
    }

    /// Whatever the tests themselves have in their environment.
    pub fn without_env(mut self, name: &str) -> Foster {
        self.not_inherited.push(name.into());
        self
    }

    /// foster is executed by this program, which is given foster's command line as its last arguments.
    pub fn after(mut self, program: &[&str]) -> Foster {
        self.before = program.iter().map(OsString::from).collect();
        self
    }

    /// Without a user namespace, so that there are other users to change to; in a PID namespace of its own all the same.
    pub fn with_machines_users(mut self) -> Foster {
        self.own_user_namespace = false;
        self
    }

    /// Runs the fixture as the command.
    pub fn fixture<S: AsRef<OsStr>>(self, args: &[S]) -> Run {
        let path = fixture();
        let words = [path.as_os_str()].into_iter().chain(args.iter().map(AsRef::as_ref));
        self.run(&words.collect::<Vec<_>>())
    }

    /// Runs a command.
    pub fn run<S: AsRef<OsStr>>(self, command: &[S]) -> Run {
        let mut unshare = unshare(self.own_user_namespace);
        if self.place == Place::Subreaper {
            unshare.arg(fixture()).arg("outer");
        }
        unshare.args(&self.before).arg(&self.binary).args(&self.options).args(command);
        for name in self.not_inherited {
            unshare.env_remove(name);
        }
        unshare.envs(self.environment);
        Run::start(unshare.stdin(Stdio::null()), self.place)
    }
}

/// A foster that runs, or anything else in a namespace of its own. Dropping it ends the namespace and all that is in it.
pub struct Run {
    child: Child,
    place: Place,
    stdout: Receiver<String>,
    stderr: Arc<Mutex<Vec<u8>>>,
    stderr_reader: Option<std::thread::JoinHandle<()>>,
}

impl Run {
    fn start(command: &mut Command, place: Place) -> Run {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("unshare is there");
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let (lines, stdout) = channel();
        let out = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            // Ends with the last writer, or when the test has no more interest.
            out.split(b'\n').map_while(Result::ok).all(|line| lines.send(String::from_utf8_lossy(&line).into()).is_ok())
        });
        let mut err = child.stderr.take().expect("piped");
        let collected = Arc::clone(&stderr);
        let stderr_reader = Some(std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = err.read(&mut buffer) {
                collected.lock().expect("not poisoned").extend_from_slice(&buffer[..len]);
            }
        }));
        Run { child, place, stdout, stderr, stderr_reader }
    }

    /// The next line of stdout.
    pub fn line(&self) -> String {
        match self.stdout.recv_timeout(DEADLINE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("no line within {DEADLINE:?}; stderr: {}", self.stderr()),
            Err(RecvTimeoutError::Disconnected) => panic!("stdout has ended; stderr: {}", self.stderr()),
        }
    }

    pub fn expect(&self, line: &str) {
        assert_eq!(self.line(), line, "stderr: {}", self.stderr());
    }

    /// What came on stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().expect("not poisoned")).into()
    }

    /// Waits until this is on stderr.
    pub fn says(&self, text: &str) {
        let start = Instant::now();
        while !self.stderr().contains(text) {
            assert!(start.elapsed() < DEADLINE, "{text:?} is not said; stderr: {}", self.stderr());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// foster's PID outside its namespace. Only once the command has said something: before, foster may not be there yet.
    pub fn foster_pid(&self) -> i32 {
        let first = only_child(self.child.id() as i32);
        if self.place == Place::Pid1 { first } else { only_child(first) }
    }

    /// Runs a second program in foster's namespaces, as `docker exec` does, and waits for its end.
    pub fn exec<S: AsRef<OsStr>>(&self, program: &Path, args: &[S]) -> Output {
        let target = self.foster_pid().to_string();
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--target", &target, "--user", "--preserve-credentials", "--mount", "--pid", "--"]);
        plainly(nsenter.arg(program).args(args).env_remove("FOSTER_LOG"))
    }

    /// Sends a signal to foster from outside its namespace.
    pub fn signal(&self, signal: i32) {
        send(self.foster_pid(), signal);
    }

    /// Waits for the end, and returns how foster ended, what else was on stdout, and stderr. No orphan may have gone to
    /// another process than foster, and none may be left.
    pub fn finish(self) -> Finished {
        let place = self.place;
        let (finished, others) = self.finish_whatever_is_left();
        if place == Place::Subreaper {
            assert_eq!(others, "strays 0 left 0", "an orphan did not go to foster, or stayed; {}", finished.stderr);
        }
        finished
    }

    /// As `finish`, whatever became of orphans: that is returned too, as the fixture's `outer` said it.
    pub fn finish_whatever_is_left(mut self) -> (Finished, String) {
        let start = Instant::now();
        let status = loop {
            match self.child.try_wait().expect("wait") {
                Some(status) => break status,
                None if start.elapsed() > DEADLINE => panic!("foster does not end; stderr: {}", self.stderr()),
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        let mut lines: Vec<String> = Vec::new();
        while let Ok(line) = self.stdout.recv_timeout(DEADLINE) {
            lines.push(line);
        }
        self.stderr_reader.take().expect("once").join().expect("the reader");
        let code = status.code().unwrap_or_else(|| panic!("unshare: {status}; stderr: {}", self.stderr()));
        if self.place == Place::Pid1 {
            return (Finished { end: End::Exited(code), lines, stderr: self.stderr() }, String::new());
        }
        let others = lines.pop().unwrap_or_default();
        let told = lines.pop().unwrap_or_else(|| panic!("how did foster end? stderr: {}", self.stderr()));
        let end = match told.split(' ').collect::<Vec<_>>()[..] {
            ["foster", "exited", code] => End::Exited(code.parse().expect("a code")),
            ["foster", "killed", signal, "core", "false"] => End::Killed(signal.parse().expect("a signal")),
            _ => panic!("{told}"),
        };
        (Finished { end, lines, stderr: self.stderr() }, others)
    }

    /// Whether all is over.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_some()
    }

    /// The lines of stdout before one that is looked for.
    pub fn lines_before(&self, last: &str) -> Vec<String> {
        std::iter::from_fn(|| Some(self.line()).filter(|line| line != last)).collect()
    }

    /// As `foster_pid`, if it is there.
    pub fn foster_pid_if_any(&self) -> Option<i32> {
        let first = children(self.child.id() as i32).first().copied()?;
        if self.place == Place::Pid1 { Some(first) } else { children(first).first().copied() }
    }

    /// The next line of stdout, if it is there already.
    pub fn line_if_any(&self) -> Option<String> {
        self.stdout.try_recv().ok()
    }

    /// The PID 1 of the namespace, by its PID outside; 0 before it is there.
    pub fn namespace_pid(&self) -> i32 {
        children(self.child.id() as i32).first().copied().unwrap_or(0)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // --kill-child ends the namespace's PID 1 along with unshare, and the kernel everything else in it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a run has left.
#[derive(Debug)]
pub struct Finished {
    pub end: End,
    /// Lines of stdout that were not read before.
    pub lines: Vec<String>,
    pub stderr: String,
}

impl Finished {
    /// foster ended as a shell would show this code: by 128+N as PID 1, by signal N otherwise.
    pub fn assert_ended_by(&self, place: Place, signal: i32) {
        let expected = if place == Place::Pid1 { End::Exited(128 + signal) } else { End::Killed(signal) };
        assert_eq!(self.end, expected, "{self:?}");
    }
}

/// The number of rt_sigtimedwait(2), in which foster sleeps: a program of 32 bits has i386's, which is Arm's too.
pub fn number_of_the_sleep(binary: &Path) -> String {
    let is_32_bit = std::fs::read(binary).expect("a program")[4] == 1;
    if is_32_bit { 177 } else { libc::SYS_rt_sigtimedwait }.to_string()
}

/// Polls until something is true, with the deadline.
pub fn poll(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < DEADLINE, "deadline: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until a process has taken every signal that was sent to it.
pub fn signals_taken(pid: i32) {
    poll("every signal is taken", || has_taken_signals(pid));
}

pub fn has_taken_signals(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    // One that is gone has none to take.
    status.map_or(true, |status| status.contains("\nShdPnd:\t0000000000000000\n"))
}

/// How long a process that could have run has waited for a processor, since its start. On a machine that is busy with other
/// things this is why something is late. Zero if it is gone, or if the kernel does not tell (CONFIG_SCHED_INFO).
pub fn waited_for_a_processor(pid: i32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let nanoseconds = text.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// A process's name; empty if it is gone.
pub fn name(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// None if it is gone.
pub fn children(pid: i32) -> Vec<i32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    assert!(std::fs::exists("/proc/thread-self/children").expect("/proc"), "CONFIG_PROC_CHILDREN");
    let children = std::fs::read_to_string(&path).unwrap_or_default();
    children.split_whitespace().map(|child| child.parse().expect("a pid")).collect()
}

pub fn only_child(pid: i32) -> i32 {
    let children = children(pid);
    assert_eq!(children.len(), 1, "pid {pid} has one child, not {children:?}");
    children[0]
}

/// Sends a signal to one process: never a group, never everybody.
#[allow(unsafe_code)]
pub fn send(pid: i32, signal: i32) {
    assert!(pid > 1, "a single process");
    // SAFETY: no pointer is passed.
    let sent = unsafe { libc::kill(pid, signal) };
    assert_eq!(sent, 0, "kill({pid}, {signal}): {}", std::io::Error::last_os_error());
}

/// Runs something that needs no namespace, since it starts no command that outlives it: help, bad options, failed execs.
pub fn plainly(command: &mut Command) -> Output {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawned");
    poll(&format!("{command:?} ends"), || child.try_wait().expect("wait").is_some());
    child.wait_with_output().expect("output")
}

/// A directory of this test's own, removed at the end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        // Tests run at the same time, and two of them may choose the same name.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("foster-test-{name}-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Scratch(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file with these permissions. Another process does it: one that this process had open for writing could
    /// be inherited by a fork of another test's for a moment, and could not be executed then (ETXTBSY).
    pub fn file(&self, name: &str, content: &[u8], mode: &str) -> PathBuf {
        let path = self.path(name);
        let mut install = Command::new("install")
            .args(["-m", mode, "/dev/stdin"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .expect("install");
        install.stdin.take().expect("piped").write_all(content).expect("written");
        assert!(install.wait().expect("wait").success());
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
