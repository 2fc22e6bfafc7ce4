//! What fails around foster, from a system call that a sandbox refuses to a machine without memory: the command still
//! runs, or one line says why not and the exit code is foster's own. It never hangs, spins, crashes or loses a child.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::cgroups::{Cgroup, words};
use crate::harness::{
    End, Finished, Foster, Place, Scratch, binaries, everywhere, fixture, is_musl, namespaces, poll, runs_as_root,
    signals_taken, skipped,
};

const SIGUSR1: i32 = 10;
const SIGTERM: i32 = 15;
/// What sandboxes and old kernels answer: EPERM and ENOSYS.
const REFUSALS: [&str; 2] = ["1", "38"];

/// A foster that is refused one system call.
fn refused(binary: &Path, place: Place, errno: &str, call: &str) -> Foster {
    Foster::new(binary, place).after(&[fixture().to_str().unwrap(), "refusing", errno, call])
}

/// The lines of stderr without what names foster: `warning: …`.
fn said(stderr: &str) -> Vec<&str> {
    stderr.lines().map(|line| line.split_once("]: ").map_or(line, |(_, line)| line)).collect()
}

#[test]
fn a_refused_call_costs_one_line_at_most() {
    everywhere(|binary, place| {
        for errno in REFUSALS {
            let subreaper = match place {
                Place::Pid1 => "",
                Place::Subreaper => "warning: foster cannot become a subreaper, so it gets no orphans: ",
            };
            for (call, option, line) in [
                ("subreaper", "-g", subreaper),
                ("parent-death", "-pHUP", "warning: --parent-death has no effect: "),
                ("setpgid", "-g", "warning: the command has no process group of its own, so --group has no effect: "),
                ("close_range", "-g", ""),
                ("pwritev2", "-g", ""),
            ] {
                let run = refused(binary, place, errno, call).option(option).fixture(&["wait-for-term"]);
                run.expect("ready");
                run.signal(SIGTERM);
                let Finished { end, stderr, .. } = run.finish();
                assert_eq!(end, End::Exited(42), "{call}: {stderr}");
                match line {
                    "" => assert_eq!(stderr, "", "{call}"),
                    line => assert!(said(&stderr)[..].len() == 1 && said(&stderr)[0].starts_with(line), "{stderr}"),
                }
            }
        }
    });
}

/// Through /proc/self/fd instead of close_range(2).
#[test]
fn without_close_range_no_descriptor_is_kept_either() {
    everywhere(|binary, place| {
        let held = "exec 5</etc/passwd 8<.; exec \"$@\"";
        let before = ["bash", "-c", held, "bash", fixture().to_str().unwrap(), "refusing", "38", "close_range"]
            .map(str::to_owned);
        let before: Vec<&str> = before.iter().map(String::as_str).collect();
        let run = Foster::new(binary, place).after(&before).fixture(&["wait-for-term"]);
        run.expect("ready");
        let open = format!("/proc/{}/fd", run.foster_pid());
        poll("all above 2 are closed", || {
            let names = std::fs::read_dir(&open).unwrap().map(|entry| entry.unwrap().file_name());
            names.filter_map(|name| name.to_str()?.parse::<u32>().ok()).all(|fd| fd <= 2)
        });
        run.signal(SIGTERM);
        assert_eq!(run.finish().end, End::Exited(42));
    });
}

/// Nobody can look at them before they are reaped, so their names and ages are not known.
#[test]
fn without_waitid_orphans_are_reaped_and_described_all_the_same() {
    everywhere(|binary, place| {
        for errno in REFUSALS {
            let run =
                refused(binary, place, errno, "waitid").option("-vv").fixture(&["orphans", "20", "2", "together"]);
            run.expect("reaped 40 zombies 0");
            let Finished { end, stderr, .. } = run.finish();
            assert_eq!(end, End::Exited(0), "{stderr}");
            assert_eq!(stderr.matches("debug: reaped orphan ").count(), 40, "{stderr}");
        }
    });
}

#[test]
fn without_pidfds_leftovers_are_stopped_all_the_same() {
    everywhere(|binary, place| {
        for errno in REFUSALS {
            for call in ["pidfd_open", "pidfd_send_signal"] {
                let run = refused(binary, place, errno, call).fixture(&["leave", "plain", "setsid", "daemon"]);
                let Finished { end, mut lines, stderr } = run.finish();
                assert_eq!((end, stderr.as_str()), (End::Exited(4), ""), "{call}");
                lines.retain(|line| !line.ends_with(" got 18"));
                lines.sort();
                assert_eq!(lines, ["daemon got 15", "plain got 15", "setsid got 15"], "{call}");
            }
        }
    });
}

/// As PID 1 foster's end is that of the leftovers, so it ends at once where a sandbox lets it signal nobody, and says so.
/// Elsewhere a pidfd does it.
#[test]
fn without_kill_an_init_says_whom_it_could_not_signal_and_ends() {
    everywhere(|binary, place| {
        for errno in REFUSALS {
            let start = std::time::Instant::now();
            let run = refused(binary, place, errno, "kill").options(&["-k", "500ms", "-v"]);
            let Finished { end, stderr, .. } = run.fixture(&["leave", "plain", "stubborn"]).finish_whatever_is_left().0;
            assert_eq!(end, End::Exited(4), "{stderr}");
            assert!(start.elapsed() < std::time::Duration::from_secs(8), "{:?}: {stderr}", start.elapsed());
            assert!(!stderr.contains("that command"), "{errno}: it was not sent: {stderr}");
            if place == Place::Pid1 {
                assert!(
                    stderr.contains("warning: foster may not signal 2 processes (it needs CAP_KILL): "),
                    "{stderr}"
                );
            }
        }
    });
}

/// A child without a wait and a wait without signals would be a foster that hangs, or spins.
#[test]
fn without_the_calls_that_it_waits_with_nothing_is_started() {
    everywhere(|binary, place| {
        for (errno, reason) in [("1", "Operation not permitted"), ("38", "Function not implemented")] {
            for (call, command) in [
                ("rt_sigtimedwait", &["echo", "started"][..]),
                ("wait4", &["echo", "started"]),
                ("rt_sigprocmask", &["echo", "started"]),
                ("rt_sigtimedwait", &["--pause"]),
                ("rt_sigprocmask", &["--pause"]),
            ] {
                let Finished { end, lines, stderr } = refused(binary, place, errno, call).run(command).finish();
                assert_eq!((end, lines), (End::Exited(125), vec![]), "{call}: {stderr}");
                let line = format!("error: cannot supervise a command: a sandbox refuses {call}(2): {reason}");
                assert!(said(&stderr)[0].starts_with(&line) && stderr.lines().count() == 1, "{stderr}");
            }
        }
    });
}

/// A sandbox from before these calls, or that of an old kernel: none of them is there.
const NEW_CALLS: &str = "close_range,pidfd_open,pidfd_send_signal,pwritev2,waitid";

#[test]
fn without_all_that_is_newer_than_the_sandbox_foster_does_all_its_work() {
    everywhere(|binary, place| {
        for errno in REFUSALS {
            does_its_work(errno, || refused(binary, place, errno, NEW_CALLS));
        }
    });
}

/// The kernel ends whoever makes the call, and foster says of the command what it says of any other signal. As a runtime has
/// it, the filter is there before foster is.
#[test]
fn a_command_that_a_filter_kills_was_killed_by_sigsys() {
    const SIGSYS: i32 = 31;
    everywhere(|binary, place| {
        for how in ["kill", "kill-thread"] {
            // foster makes no such call, and nice(1) does. setpgid is what foster's child does before it is the command.
            for call in ["setpriority", "setpgid"] {
                let finished = refused(binary, place, how, call).run(&["nice", "-n", "1", "true"]).finish();
                finished.assert_ended_by(place, SIGSYS);
                let lines = said(&finished.stderr);
                assert!(
                    lines.len() == 1
                        && lines[0].starts_with("error: incident: command nice ")
                        && lines[0].contains(" was killed by SIGSYS (signal 31), which foster did not send; "),
                    "{how} {call}: {}",
                    finished.stderr
                );
            }
        }
    });
}

/// For a call that foster could do without, too: it cannot find out beforehand. As PID 1 it takes all others with it, and
/// its parent sees SIGSYS.
#[test]
fn a_foster_that_a_filter_kills_ends_by_sigsys_and_leaves_nobody() {
    if !namespaces() {
        return;
    }
    let program = fixture();
    let inner = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--", program.to_str().unwrap()];
    for binary in binaries() {
        for call in ["close_range", "wait4", "clone", "rt_sigprocmask"] {
            let before = [&inner[..], &["refusing", "kill", call]].concat();
            // PID 1 of a namespace in the one in which `outer` is: that tells how it ended, and whether anybody is left.
            let finished = Foster::new(&binary, Place::Subreaper).after(&before).run(&["sleep", "1000"]).finish();
            assert_eq!(finished.end, End::Killed(31), "{call}: {finished:?}");
        }
    }
}

#[test]
fn a_process_that_cannot_be_had_is_one_line_and_125() {
    everywhere(|binary, place| {
        for (errno, reason) in [
            ("11", "Try again (a limit on processes: ulimit -u, or pids.max of the cgroup)"),
            ("12", "Out of memory"),
            ("1", "Operation not permitted"),
        ] {
            let Finished { end, lines, stderr } =
                refused(binary, place, errno, "clone").run(&["echo", "started"]).finish();
            assert_eq!((end, lines), (End::Exited(125), vec![]), "{errno}: {stderr}");
            assert_eq!(said(&stderr), [format!("error: cannot start a process: {reason}")]);
        }
    });
}

const NO_PROCESS: &str =
    "error: cannot start a process: Try again (a limit on processes: ulimit -u, or pids.max of the cgroup)";

/// The real ones: a user's limit, which is not root's, and a cgroup's.
#[test]
fn a_limit_on_processes_is_one_line_and_125() {
    if !namespaces() || !is_root() {
        return;
    }
    let Some(cgroup) = Cgroup::with_pids("pids", 1) else { return };
    let entering = cgroup.entering();
    let open = Reachable::new("nproc");
    for binary in binaries() {
        let binary = open.copy(&binary);
        // The copy's own fork is the second process of its user.
        let user = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "prlimit", "--nproc=1:1", "--"];
        for before in [&user[..], &words(&entering)] {
            for place in [Place::Pid1, Place::Subreaper] {
                let foster = Foster::new(&binary, place).with_machines_users().after(before);
                let Finished { end, lines, stderr } = foster.run(&["/bin/echo", "started"]).finish();
                assert_eq!((end, lines), (End::Exited(125), vec![]), "{before:?}: {stderr}");
                assert_eq!(said(&stderr), [NO_PROCESS]);
            }
        }
    }
}

/// A signal or a full queue may interrupt a call, or a tracer may.
#[test]
fn calls_that_are_interrupted_lose_nothing() {
    if !namespaces() || !strace() {
        return;
    }
    everywhere(|binary, place| {
        for fault in [
            "wait4:error=EINTR:when=1+2",
            "waitid:error=EINTR:when=1+2",
            "rt_sigtimedwait:error=EINTR:when=1+2",
            "rt_sigtimedwait:error=EAGAIN:when=1+2",
            "pwritev2:error=EAGAIN:when=1+2",
            "openat,open:error=EINTR:when=1+2",
            "openat,open:error=EMFILE:when=1+2",
        ] {
            for option in ["-vv", "-g"] {
                let run = Foster::new(binary, place).option(option).fixture(&["delay"]);
                run.expect("ready");
                let Some(_strace) = Strace::attach(run.foster_pid(), fault) else { return };
                for _ in 0..4 {
                    run.signal(SIGUSR1);
                    run.expect("reaped 5 zombies 0");
                }
                run.signal(SIGTERM);
                assert_eq!(run.finish().end, End::Exited(42), "{fault} {option}");
            }
        }
    });
}

#[test]
fn a_signal_that_cannot_be_sent_on_is_one_warning_and_the_next_one_is() {
    if !namespaces() || !strace() {
        return;
    }
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).fixture(&["wait-for-term"]);
        run.expect("ready");
        let Some(_strace) = Strace::attach(run.foster_pid(), "kill:error=EAGAIN:when=1..2") else { return };
        for _ in 0..2 {
            run.signal(SIGUSR1);
            signals_taken(run.foster_pid());
        }
        run.signal(SIGTERM);
        let Finished { end, stderr, .. } = run.finish();
        assert_eq!(end, End::Exited(42), "{stderr}");
        let lines = said(&stderr);
        assert!(
            lines.len() == 1 && lines[0].starts_with("warning: SIGUSR1 could not be forwarded to command "),
            "{stderr}"
        );
    });
}

/// One write that cannot wait, at the place where the file is. On machines of 32 bits an offset is two words, and one too many
/// would be the flags.
#[test]
fn a_line_is_one_write_that_does_not_wait() {
    if !namespaces() || !strace() {
        return;
    }
    for binary in binaries() {
        let scratch = Scratch::new("write");
        let trace = scratch.path("trace");
        let strace = ["strace", "-o", trace.to_str().unwrap(), "-e", "trace=pwritev2", "--"];
        let finished = Foster::new(&binary, Place::Pid1).after(&strace).run(&["/nonexistent"]).finish();
        let trace = std::fs::read_to_string(&trace).unwrap();
        let calls: Vec<&str> = trace.lines().filter(|line| line.starts_with("pwritev2(2, ")).collect();
        assert!(calls.len() == 1 && calls[0].contains("}], 1, -1, RWF_NOWAIT) = "), "{}: {trace}", binary.display());
        assert_eq!(finished.stderr.lines().filter(|line| line.contains("error: ")).count(), 1, "{}", finished.stderr);
    }
}

/// Memory runs out at the first allocation, at the second, and so on until foster does not notice any more. With musl alone,
/// as foster is shipped: a static glibc needs memory before foster's first instruction, and a brk(2) that fails at the
/// wrong moment is "corrupted top size" to it.
#[test]
fn without_memory_at_the_start_one_line_and_125() {
    if !namespaces() || !strace() {
        return;
    }
    for binary in binaries().iter().filter(|binary| is_musl(binary)) {
        let mut refusals = 0;
        for first in 1.. {
            // mmap2 is what mmap is called by a program of 32 bits.
            let fault = format!("inject=brk,mmap,?mmap2:error=ENOMEM:when={first}+");
            let strace = ["strace", "-o", "/dev/null", "-e", "trace=brk,mmap,?mmap2", "-e", &fault, "--"];
            // strace is PID 1, and foster its child.
            // An argument that is larger than the arena, without which a start asks for no memory at all.
            let run = Foster::new(binary, Place::Pid1).after(&strace).run(&["true", &"x".repeat(100_000)]);
            let Finished { end, stderr, .. } = run.finish();
            // strace wonders about a command that had been started already.
            let said: Vec<&str> = said(&stderr).into_iter().filter(|line| !line.starts_with("strace: ")).collect();
            match (end, &said[..]) {
                (End::Exited(0), []) => break,
                (End::Exited(125), ["error: no memory is left, so foster ends"]) => refusals += 1,
                _ => panic!("without memory from call {first} on: {end:?} {stderr}"),
            }
            assert!(first < 100, "memory is needed again and again");
        }
        assert!(refusals > 0, "the fault was never met");
    }
}

fn is_glibcs(line: &str) -> bool {
    line.starts_with("Fatal glibc error") || line.contains("error while loading shared libraries")
}

/// The same by a limit that a container may really have. Not as PID 1: where the program itself has no room, the kernel
/// ends the one who executes it by a signal, and `unshare` along with it.
#[test]
fn under_a_limit_on_memory_the_command_runs_or_one_line_says_why_not() {
    if !namespaces() {
        return;
    }
    for binary in binaries() {
        let mut ran = 0;
        // A debug build is larger than what is shipped.
        for kib in (300..4500).step_by(60) {
            let limit = format!("ulimit -v {kib}; exec \"$@\"");
            let script = ["bash", "-c", &limit, "bash"];
            let foster = Foster::new(&binary, Place::Subreaper).after(&script);
            let Finished { end, lines, stderr } = foster.run(&[binary.as_os_str(), "--version".as_ref()]).finish();
            match (end, &said(&stderr)[..]) {
                (End::Exited(0), []) if lines.len() == 1 => ran += 1,
                (End::Exited(125), ["error: no memory is left, so foster ends"]) => {}
                // foster, or the command, has no room for its image or for its C library.
                (End::Exited(127), [line]) if is_glibcs(line) => {}
                (End::Killed(9 | 11), _) => {}
                _ => panic!("{} in {kib} KiB: {end:?} {lines:?} {stderr}", binary.display()),
            }
        }
        assert!(ran > 10, "{} never had enough", binary.display());
    }
}

/// What foster needs of its surroundings: nothing. Each scene is a shell script before foster starts, as root of its own
/// namespace; then the whole of foster's work.
const SCENES: &[(&str, &str)] = &[
    ("no /dev/tty, no /dev at all", "mount -t tmpfs none /dev; exec \"$@\""),
    ("a root that is read-only", "mount -o remount,bind,ro /; exec \"$@\""),
    ("no new privileges", "exec setpriv --no-new-privs -- \"$@\""),
    ("no capability", "exec setpriv --bounding-set=-all --inh-caps=-all -- \"$@\""),
    ("hidden processes", "mount -o remount,hidepid=2 /proc; exec \"$@\""),
    ("no more than its standard descriptors", "ulimit -n 16; exec \"$@\""),
];

#[test]
fn in_meagre_surroundings_foster_does_all_its_work() {
    everywhere(|binary, place| {
        for (scene, script) in SCENES {
            does_its_work(scene, || Foster::new(binary, place).after(&["bash", "-ec", script, "bash"]));
        }
    });
}

/// An ordinary user, without any capability, who sees no process of anybody else's.
#[test]
fn as_an_ordinary_user_foster_does_all_its_work() {
    if !namespaces() || !is_root() {
        return;
    }
    let open = Reachable::new("ordinary");
    let user =
        "setpriv --reuid=54322 --regid=54322 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs --";
    for binary in binaries() {
        let binary = open.copy(&binary);
        for place in [Place::Pid1, Place::Subreaper] {
            for hide in ["", "mount -o remount,hidepid=2 /proc; "] {
                let script = format!("{hide}exec {user} \"$@\"");
                does_its_work(&script, || {
                    Foster::new(&binary, place).with_machines_users().after(&["bash", "-ec", &script, "bash"])
                });
            }
        }
    }
}

/// Reaps, forwards, stops leftovers, and says why a command cannot be started.
fn does_its_work(scene: &str, foster: impl Fn() -> Foster) {
    let open = Reachable::new("work");
    let program = open.copy(&fixture());
    let program = program.to_str().unwrap();
    let run = foster().run(&[program, "orphans", "20", "2", "together"]);
    run.expect("reaped 40 zombies 0");
    let Finished { end, stderr, .. } = run.finish();
    assert_eq!((end, stderr.as_str()), (End::Exited(0), ""), "{scene}");

    let run = foster().run(&[program, "wait-for-term"]);
    run.expect("ready");
    run.signal(SIGTERM);
    assert_eq!(run.finish().end, End::Exited(42), "{scene}");

    let Finished { end, mut lines, stderr } = foster().run(&[program, "leave", "plain", "setsid", "daemon"]).finish();
    lines.retain(|line| !line.ends_with(" got 18"));
    lines.sort();
    assert_eq!((end, stderr.as_str()), (End::Exited(4), ""), "{scene}");
    assert_eq!(lines, ["daemon got 15", "plain got 15", "setsid got 15"], "{scene}");

    let Finished { end, stderr, .. } = foster().run(&["/nonexistent"]).finish();
    assert_eq!(end, End::Exited(127), "{scene}");
    assert_eq!(said(&stderr), ["error: cannot run '/nonexistent': no such file or directory"], "{scene}");
}

/// Nobody can say anything, or what foster opens gets a number that is stdin's, stdout's or stderr's.
#[test]
fn whichever_standard_descriptors_are_closed_the_code_is_right() {
    if !namespaces() {
        return;
    }
    let scratch = Scratch::new("closed");
    everywhere(|binary, place| {
        for closed in 0..8 {
            let redirections = [(1, "<&-"), (2, ">&-"), (4, "2>&-")];
            let closing: Vec<&str> =
                redirections.iter().filter(|(bit, _)| closed & bit != 0).map(|(_, r)| *r).collect();
            let script = format!("exec {}; exec \"$@\"", closing.join(" "));
            let log = scratch.file("log", b"", "644");
            let program = fixture();
            let program = program.to_str().unwrap();
            for (option, command, code) in [
                ("-vvv", &[program, "exit", "9"][..], 9),
                ("-vvv", &[program, "leave", "daemon"], 4),
                ("-vvv", &["/nonexistent"], 127),
                ("--nonsense", &[], 125),
            ] {
                let foster = Foster::new(binary, place).after(&["bash", "-c", &script, "bash"]);
                let foster = foster.env("FOSTER_TERMINATION_LOG", &log).env("FOSTER_LOG", "trace").option(option);
                let Finished { end, stderr, .. } = foster.run(command).finish();
                assert_eq!(end, End::Exited(code), "{closing:?} {command:?}: {stderr}");
                assert_eq!(stderr.is_empty(), closed & 4 != 0, "{closing:?}: {stderr}");
            }
            let words = std::fs::read_to_string(&log).unwrap();
            assert!(words.lines().all(|line| line.starts_with("foster: ")) && words.lines().count() == 6, "{words}");
        }
    });
}

fn is_root() -> bool {
    let is_root = runs_as_root();
    if !is_root {
        skipped("not root, so there is no other user and no cgroup to try");
    }
    is_root
}

pub fn strace() -> bool {
    let there = Command::new("strace").arg("--version").output().is_ok_and(|output| output.status.success());
    assert!(there || std::env::var_os("CI").is_none(), "CI, and no strace");
    if !there {
        skipped("no strace, so no system call is made to fail");
    }
    there
}

/// Makes system calls of a running foster fail.
struct Strace(Child);

impl Strace {
    /// `None`: this machine lets nobody trace a process that is not his child.
    fn attach(pid: i32, fault: &str) -> Option<Strace> {
        let calls = fault.split(':').next().unwrap();
        let mut command = Command::new("strace");
        command.args(["-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &format!("inject={fault}")]);
        command.args(["-p", &pid.to_string()]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut strace = Strace(command.spawn().expect("strace"));
        let mut attached = false;
        poll("strace is attached", || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
            attached = !status.contains("\nTracerPid:\t0\n");
            attached || strace.0.try_wait().expect("wait").is_some()
        });
        assert!(attached || std::env::var_os("CI").is_none(), "CI, and strace cannot attach");
        if !attached {
            skipped("strace cannot attach here, so no system call is made to fail");
        }
        attached.then_some(strace)
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Copies of programs where every user can reach them.
struct Reachable(Scratch);

impl Reachable {
    fn new(name: &str) -> Reachable {
        Reachable(Scratch::new(name))
    }

    fn copy(&self, program: &Path) -> PathBuf {
        let copy = self.0.path(program.file_name().unwrap().to_str().unwrap());
        let mut install = Command::new("install");
        assert!(install.args(["-m", "755"]).args([program, &copy]).status().expect("install").success());
        copy
    }
}
