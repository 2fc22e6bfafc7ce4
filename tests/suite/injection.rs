//! Every system call that foster makes in a life fails, one after the other, in each of the ways in which it may. foster is
//! PID 1 of a namespace of its own: strace stands outside, and takes hold of the process that is to become foster before the
//! exec. Whichever call fails, foster
//! - ends by its deadline,
//! - ends as the command ended, or with a code and a line of its own that say why not,
//! - does not crash,
//! - signals nobody outside: the tests themselves are in its process group.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::faults::strace;
use crate::harness::{
    End, Finished, Foster, Place, Run, Scratch, binaries, fixture, is_musl, namespaces, runs_as_root, send, skipped,
};

const SIGUSR1: i32 = 10;
/// Most of a run is waiting.
const AT_A_TIME: usize = 6;
/// What foster may take for a life: the grace of 200 ms, and what a loaded machine takes. Less than the 10 s after which foster
/// gives up, which are for processes that the kernel itself holds.
const LONGEST: Duration = Duration::from_secs(8);

/// Whether it fails always, or now and then. In every other call of a kind a real kernel may answer so.
#[derive(Clone, Copy, PartialEq)]
enum Fails {
    /// Any of the calls, and all: a sandbox refuses them.
    Always,
    /// Now and then, and a program has to try again: the kernel never answers so twice without end.
    NowAndThen,
}

use Fails::{Always, NowAndThen};

/// How a call may fail. What no kernel and no sandbox does is not here, and `cannot_fail` has the reasons.
fn failures(call: &str) -> Option<&'static [(&'static str, Fails)]> {
    Some(match call {
        "open" | "openat" => {
            &[("EPERM", Always), ("ENOENT", Always), ("EMFILE", Always), ("ENOMEM", Always), ("EINTR", NowAndThen)]
        }
        "read" | "getdents64" => &[("EIO", Always), ("EPERM", Always), ("EINTR", NowAndThen)],
        "write" | "pwritev2" | "writev" => {
            &[("EPIPE", Always), ("ENOSPC", Always), ("EAGAIN", Always), ("ENOSYS", Always), ("EINTR", NowAndThen)]
        }
        "poll" | "ppoll" => &[("EPERM", Always), ("ENOMEM", Always), ("EINTR", NowAndThen)],
        "close" | "close_range" => &[("EIO", Always), ("EPERM", Always), ("ENOSYS", Always), ("EINTR", Always)],
        "fcntl" | "fstat" | "stat" | "newfstatat" | "statx" | "lseek" | "readlink" | "readlinkat" | "chdir"
        | "ioctl" | "capget" | "getxattr" | "fgetxattr" => &[("EPERM", Always), ("ENOSYS", Always), ("EACCES", Always)],
        "mmap" | "brk" | "munmap" | "mprotect" | "mremap" => &[("ENOMEM", Always), ("EPERM", Always)],
        "clone" | "clone3" => &[("EAGAIN", Always), ("ENOMEM", Always), ("EPERM", Always), ("ENOSYS", Always)],
        "execve" => &[("ENOMEM", NowAndThen), ("EACCES", NowAndThen), ("EPERM", NowAndThen), ("ETXTBSY", NowAndThen)],
        "kill" | "rt_sigqueueinfo" | "pidfd_open" | "pidfd_send_signal" => {
            &[("EPERM", Always), ("ENOSYS", Always), ("ESRCH", NowAndThen), ("EAGAIN", NowAndThen)]
        }
        "waitid" => &[("EPERM", Always), ("ENOSYS", Always), ("EINTR", NowAndThen)],
        "wait4" => &[("EPERM", Always), ("ENOSYS", Always), ("EINTR", NowAndThen)],
        // A filter that always refuses it refuses it to the child too, which finds that out before the exec. strace does
        // not stand before the child here, so that is a test of its own in `faults.rs`.
        "rt_sigtimedwait" => &[("EPERM", NowAndThen), ("ENOSYS", NowAndThen), ("EINTR", NowAndThen)],
        "prctl" | "setpgid" | "setsid" | "setgroups" | "setresgid" | "setresuid" | "rt_sigaction"
        | "rt_sigprocmask" | "ptrace" | "capset" | "getgroups" | "sched_yield" => {
            &[("EPERM", Always), ("ENOSYS", Always)]
        }
        _ => return None,
    })
}

/// Calls that no kernel fails and no sandbox refuses, or every program would end at once.
const CANNOT_FAIL: [&str; 14] = [
    "getpid",
    "getppid",
    "getpgrp",
    "getpgid",
    "getuid",
    "geteuid",
    "getresuid",
    "getresgid",
    "clock_gettime",
    "exit",
    "exit_group",
    "arch_prctl",
    "set_tid_address",
    "restart_syscall",
];

/// A way to run foster, and what may come of it.
struct Life {
    name: &'static str,
    options: &'static [&'static str],
    command: &'static [&'static str],
    /// Not foster's calls, but those of its child before that is the command.
    follows_child: bool,
    needs_root: bool,
    /// How it ends if nothing fails.
    code: i32,
    /// How else it may end.
    other_codes: &'static [i32],
}

const LIVES: &[Life] = &[
    Life {
        name: "plain",
        options: &["-vv", "-k", "200ms", "--termination-log", "LOG"],
        command: &["FIXTURE", "whole-life"],
        follows_child: false,
        needs_root: false,
        code: 42,
        // It could not be started, or SIGTERM did not reach the command, and SIGKILL ended it.
        other_codes: &[125, 137],
    },
    Life {
        name: "group",
        options: &["-g", "-k", "200ms", "-p", "HUP", "-C", "/tmp", "--log-format", "json"],
        command: &["FIXTURE", "whole-life"],
        follows_child: false,
        needs_root: false,
        code: 42,
        other_codes: &[125, 137],
    },
    Life {
        name: "start",
        options: &["-u", "65534:65534", "-C", "/tmp"],
        // Static, and so without a loader whose calls would fail as well. It is found in the second directory of PATH.
        command: &["foster", "--version"],
        follows_child: true,
        needs_root: true,
        code: 0,
        other_codes: &[125, 126, 127],
    },
    Life {
        name: "probe",
        options: &["--check"],
        command: &[],
        follows_child: false,
        needs_root: false,
        code: 0,
        other_codes: &[125],
    },
];

/// Runs one life, with strace's words for what is to fail.
struct Trial<'a> {
    binary: &'a Path,
    life: &'a Life,
    scratch: &'a Scratch,
}

impl Trial<'_> {
    /// How foster ended, after how long, and what strace has seen. `None`: strace cannot attach.
    fn run(&self, number: usize, inject: Option<&str>) -> Option<(Finished, Duration, String)> {
        let trace = self.scratch.path(&format!("trace-{}-{number}", self.life.name));
        let log = self.scratch.path(&format!("log-{}-{number}", self.life.name));
        let fixture = fixture();
        let fixture = fixture.to_str().unwrap();
        let words = |words: &[&str]| -> Vec<String> {
            let word = |word: &&str| match *word {
                "LOG" => log.to_str().unwrap().to_owned(),
                "FIXTURE" => fixture.to_owned(),
                other => other.to_owned(),
            };
            words.iter().map(word).collect()
        };
        // Where the other user of a start may look.
        let path = format!("PATH=/nonexistent:{}", self.scratch.path("bin").display());
        let mut foster =
            Foster::new(self.binary, Place::Pid1).after(&["env", path.as_str(), fixture, "held-by-signal"]);
        if self.life.needs_root {
            foster = foster.with_machines_users();
        }
        let foster = words(self.life.options).iter().fold(foster, Foster::option);
        let run = foster.run(&words(self.life.command));
        run.expect("held");
        let strace = Strace::attach(&run, &trace, self.life.follows_child, inject)?;
        let start = Instant::now();
        send(run.foster_pid(), SIGUSR1);
        let finished = run.finish();
        let took = start.elapsed();
        drop(strace);
        Some((finished, took, std::fs::read_to_string(&trace).unwrap()))
    }

    /// What is wrong with how foster met a fault, and whether the fault was there at all.
    fn judge(&self, number: usize, inject: &str) -> (Option<String>, bool) {
        let run = std::panic::catch_unwind(AssertUnwindSafe(|| self.run(number, Some(inject))));
        let (Finished { end, lines, stderr }, took, trace) = match run {
            Ok(Some(run)) => run,
            Ok(None) => return (None, true),
            Err(_) => return (Some(format!("{} {inject}: it hangs; see above", self.life.name)), true),
        };
        let is_met = trace.contains("(INJECTED)");
        let Life { code, other_codes, .. } = self.life;
        let said_end = lines.iter().any(|line| line == "the command ends with 42");
        let is_own_word = ["error: ", "\"level\":\"error\""].iter().any(|word| stderr.contains(word));
        let ends_well = match end {
            End::Exited(found) if found == *code => true,
            // The command was not there to end, and foster says why.
            End::Exited(125..=127) if !said_end => {
                other_codes.contains(&code_of(end)) && is_own_word_or_silent(is_own_word, inject)
            }
            End::Exited(137) => other_codes.contains(&137) && !said_end,
            _ => false,
        };
        let fault = match () {
            () if !ends_well => format!("{end:?}, the command has said its end: {said_end}"),
            () if took > LONGEST => format!("took {took:?}"),
            () if stderr.contains("panicked") => "a panic".to_owned(),
            () => return (None, is_met),
        };
        (Some(format!("{} {inject}: {fault}; stderr: {stderr}", self.life.name)), is_met)
    }
}

fn code_of(end: End) -> i32 {
    match end {
        End::Exited(code) => code,
        End::Killed(signal) => 128 + signal,
    }
}

/// A foster whose every write fails has no way to say why.
fn is_own_word_or_silent(said: bool, inject: &str) -> bool {
    said || ["write", "pwritev2", "poll"].iter().any(|call| inject.starts_with(&format!("{call}:")))
}

/// strace, from the instant on at which it has hold of the process that is to be foster.
struct Strace(Child);

impl Strace {
    fn attach(run: &Run, trace: &Path, follows_child: bool, inject: Option<&str>) -> Option<Strace> {
        let mut command = Command::new("strace");
        command.arg("-o").arg(trace).args(["-p", &run.foster_pid().to_string()]);
        if follows_child {
            command.arg("-f");
        }
        if let Some(inject) = inject {
            let call = inject.split(':').next().unwrap();
            command.args(["-e", &format!("trace={call}"), "-e", &format!("inject={inject}")]);
        }
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("strace");
        let mut said = String::new();
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        // Ends with strace, if that does not attach.
        while !said.contains(" attached") && stderr.read_line(&mut said).expect("stderr") > 0 {}
        let strace = Strace(child);
        if said.contains(" attached") {
            // It says how it ends, too, and nobody is to wait for a reader.
            std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
            return Some(strace);
        }
        assert!(std::env::var_os("CI").is_none(), "CI, and strace cannot attach: {said}");
        skipped("strace cannot attach here, so no system call is made to fail");
        None
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // It ends with those that it traces.
        let start = Instant::now();
        while self.0.try_wait().expect("wait").is_none() {
            if start.elapsed() > Duration::from_secs(5) {
                let _ = self.0.kill();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// How often foster makes a call.
#[derive(Clone, Copy, Default)]
struct Count {
    /// In the C library's start, and before that in the program that becomes foster.
    before: usize,
    then: usize,
}

/// The calls that foster makes from its first one on, which blocks every signal; or those of its child before that is the
/// command. Each line is `NAME(ARGUMENTS) = RESULT`, with the process's number before it where strace follows children.
fn calls(trace: &str, of_child: bool) -> BTreeMap<String, Count> {
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    let (mut foster, mut commands) = (None, BTreeSet::new());
    for line in trace.lines() {
        let (pid, line) = if of_child { line.split_once(' ').unwrap_or(("", line)) } else { ("", line) };
        let line = line.trim_start();
        let is_foster = foster.is_some_and(|foster| foster == pid);
        if foster.is_none() && line.contains("rt_sigprocmask(SIG_SETMASK, ~[], ") {
            foster = Some(pid);
        } else if foster.is_some() && !is_foster && line.contains("execve") && line.ends_with(" = 0") {
            // Also `<... execve resumed>`, where another process's line came in between.
            commands.insert(pid);
            continue;
        }
        let name = line.split_once('(').map_or("", |(name, _)| name);
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name || commands.contains(pid) {
            continue;
        }
        let count = counts.entry(name.to_owned()).or_default();
        match foster {
            // strace counts a child's calls from its own first one.
            None if !of_child => count.before += 1,
            Some(foster) if (foster != pid) == of_child => count.then += 1,
            _ => {}
        }
    }
    counts.retain(|_, count| count.then > 0);
    counts
}

/// Which of the calls are to fail: all, each second one, and with TEST_ALL=1 each of them alone.
fn occurrences(count: Count, fails: Fails, all: bool) -> Vec<String> {
    let Count { before, then } = count;
    let mut occurrences = Vec::new();
    if fails == Always {
        occurrences.push(format!("{}+", before + 1));
    }
    if then > 1 || fails == NowAndThen {
        occurrences.extend([format!("{}+2", before + 1), format!("{}+2", before + 2)]);
    }
    if all {
        occurrences.extend((1..=then).map(|n| (before + n).to_string()));
    }
    occurrences
}

#[test]
fn whichever_system_call_fails_as_pid_1_foster_ends_as_it_should() {
    if !namespaces() || !strace() {
        return;
    }
    let all = std::env::var_os("TEST_ALL").is_some();
    // One is enough where time is short.
    let binaries: Vec<PathBuf> = binaries().into_iter().take(if all { usize::MAX } else { 1 }).collect();
    let mut all_wrong = Vec::new();
    for binary in &binaries {
        for life in LIVES {
            if life.needs_root && !runs_as_root() {
                skipped("not root, so no call of a start as another user is made to fail");
                continue;
            }
            let scratch = Scratch::new("injection");
            std::fs::create_dir(scratch.path("bin")).unwrap();
            scratch.file("bin/foster", &std::fs::read(binary).unwrap(), "755");
            let trial = Trial { binary, life, scratch: &scratch };
            let Some((healthy, _, trace)) = trial.run(0, None) else { return };
            assert_eq!(healthy.end, End::Exited(life.code), "{}: {}", life.name, healthy.stderr);
            let counts = calls(&trace, life.follows_child);
            let mut faults = Vec::new();
            for (call, count) in &counts {
                // When memory runs out, a glibc ends in its own way, as `faults.rs` says.
                let is_memory = ["brk", "mmap", "munmap", "mprotect", "mremap"].contains(&call.as_str());
                if CANNOT_FAIL.contains(&call.as_str()) || (is_memory && !is_musl(binary)) {
                    continue;
                }
                let failures = failures(call).unwrap_or_else(|| panic!("foster calls {call}: how may that fail?"));
                for (errno, fails) in failures {
                    // The first exec is the one that makes foster, and the child's first one finds no file.
                    let occurrences =
                        if call == "execve" { vec!["2+".to_owned()] } else { occurrences(*count, *fails, all) };
                    faults.extend(occurrences.iter().map(|when| format!("{call}:error={errno}:when={when}")));
                }
            }
            let (wrong, unmet) = try_all(&trial, &faults);
            let start = format!("{} in life {}", binary.display(), life.name);
            all_wrong.extend(wrong.iter().map(|wrong| format!("{start}, of {} faults: {wrong}", faults.len())));
            assert!(unmet.len() * 4 < faults.len(), "{start}: too many faults were never met: {unmet:?}");
        }
    }
    assert!(all_wrong.is_empty(), "{}", all_wrong.join("\n"));
}

/// Returns what was wrong, and which faults were not met because foster did not come so far.
fn try_all(trial: &Trial, faults: &[String]) -> (Vec<String>, Vec<String>) {
    let (next, wrong, unmet) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let number = faults.iter().position(|other| other == fault).unwrap() + 1;
                    let (found, is_met) = trial.judge(number, fault);
                    wrong.lock().unwrap().extend(found);
                    if !is_met {
                        unmet.lock().unwrap().push(fault.clone());
                    }
                }
            });
        }
    });
    (wrong.into_inner().unwrap(), unmet.into_inner().unwrap())
}
