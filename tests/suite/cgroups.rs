//! What a cgroup may do to foster and to its command: no process more, next to no memory, a freeze. Each in a cgroup of the
//! test's own, with foster in a PID namespace as ever.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{
    End, Finished, Foster, PLACES, Place, Run, binaries, everywhere, is_musl, namespaces, only_child, plainly, poll,
    runs_as_root, skipped, state,
};

const SIGUSR1: i32 = 10;
const SIGTERM: i32 = 15;
/// What a loaded machine may need beyond a deadline of foster's.
const SLACK: Duration = Duration::from_secs(8);

/// A cgroup of a test's own, where the machine's root may make one.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Below the first of these directories that is there: one is v1's hierarchy with this controller, the other v2's. In CI
    /// it must be possible.
    fn new(parents: &[&str], name: &str, settings: &[(&str, &str)]) -> Option<Cgroup> {
        if !runs_as_root() {
            skipped(&format!("not root, so there is no cgroup to try ({name})"));
            return None;
        }
        let parent = parents.iter().map(Path::new).find(|parent| parent.exists());
        let Some(parent) = parent else {
            skipped(&format!("none of {parents:?} is there, so there is no cgroup to try ({name})"));
            return None;
        };
        // v2: the controllers may have to be enabled for what is below.
        for controller in ["+pids", "+memory"] {
            let _ = std::fs::write(parent.join("cgroup.subtree_control"), controller);
        }
        let cgroup = Cgroup(parent.join(format!("foster-test-{name}-{}", std::process::id())));
        let mut made = std::fs::create_dir(&cgroup.0);
        for (file, value) in settings {
            made = made.and_then(|()| std::fs::write(cgroup.0.join(file), value));
        }
        assert!(made.is_ok() || std::env::var_os("CI").is_none(), "CI, and no cgroup {name}: {made:?}");
        if let Err(error) = made {
            skipped(&format!("the cgroup {name} cannot be made: {error}"));
            return None;
        }
        Some(cgroup)
    }

    /// With at most so many processes.
    pub fn with_pids(name: &str, most: u32) -> Option<Cgroup> {
        Cgroup::new(&["/sys/fs/cgroup/pids", "/sys/fs/cgroup"], name, &[("pids.max", &most.to_string())])
    }

    /// With so many bytes of memory, and no swap.
    pub fn with_memory(name: &str, bytes: u64) -> Option<Cgroup> {
        let parents = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"];
        let limit = bytes.to_string();
        let file = if Path::new(parents[0]).exists() { "memory.limit_in_bytes" } else { "memory.max" };
        let cgroup = Cgroup::new(&parents, name, &[(file, &limit)])?;
        // Or memory would go to swap instead of running out; not every kernel has these.
        let _ = std::fs::write(cgroup.0.join("memory.memsw.limit_in_bytes"), &limit);
        let _ = std::fs::write(cgroup.0.join("memory.swap.max"), "0");
        Some(cgroup)
    }

    /// The words that make a program a member before they execute it.
    pub fn entering(&self) -> [String; 4] {
        let script = "echo $$ >\"$0\" && exec \"$@\"";
        ["sh".to_owned(), "-c".to_owned(), script.to_owned(), self.0.join("cgroup.procs").display().to_string()]
    }

    fn write(&self, file: &str, value: &str) {
        std::fs::write(self.0.join(file), value).unwrap_or_else(|error| panic!("{file} {value}: {error}"));
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file)).unwrap_or_default()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::write(self.0.join("freezer.state"), "THAWED");
        let _ = std::fs::write(self.0.join("cgroup.freeze"), "0");
        // Its processes are gone a moment after the test has killed them.
        poll("the cgroup is removed", || std::fs::remove_dir(&self.0).is_ok() || !self.0.exists());
    }
}

pub fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// The command takes all the processes that the cgroup allows. foster needs none to stop them, and the probe none to be told.
#[test]
fn in_a_full_pids_cgroup_the_probe_answers_and_every_leftover_is_stopped() {
    everywhere(|binary, place| {
        let Some(cgroup) = Cgroup::with_pids("full", 20) else { return };
        let entering = cgroup.entering();
        let run = Foster::new(binary, place).with_machines_users().after(&words(&entering)).option("-v");
        let run = run.fixture(&["fill-pids"]);
        let made = run.line();
        let made: usize = made.strip_prefix("full, children ").and_then(|n| n.parse().ok()).expect("how many");
        assert_eq!(cgroup.read("pids.current").trim(), "20", "it is full");

        // As `docker exec` does it: the kernel lets a process in that is there already.
        let target = run.foster_pid().to_string();
        let mut inside = Command::new("nsenter");
        inside.args(["--target", &target, "--mount", "--pid", "--"]).args(&entering).arg(binary).arg("--check");
        let probe = plainly(&mut inside);
        let told = String::from_utf8_lossy(&probe.stdout).into_owned();
        assert_eq!(probe.status.code(), Some(1), "{told}{}", String::from_utf8_lossy(&probe.stderr));
        assert!(told.contains("unhealthy: too few pids left\n") && told.contains("pids: 21 of 20 (cgroup"), "{told}");

        run.signal(SIGTERM);
        let Finished { end, stderr, .. } = run.finish();
        assert_eq!(end, End::Exited(42), "{stderr}");
        assert!(stderr.contains(&format!("leftovers stopped: {made}, killed: 0\n")), "{stderr}");
    });
}

/// From 512 KiB up, foster is there to tell of the command's end. (With 256 the kernel killed it twice in 120 times, in its
/// exec, before its first instruction.) In less than 2 MiB the command does not even get through its loader, and may be dead
/// before foster has read the count of OOM kills; so there the line may say just SIGKILL.
#[test]
fn in_a_tiny_memory_cgroup_foster_lives_and_tells_of_the_commands_end() {
    if !namespaces() {
        return;
    }
    for binary in binaries() {
        for kib in [512, 1024, 2048, 4096, 8192] {
            let Some(cgroup) = Cgroup::with_memory(&format!("tiny-{kib}"), kib * 1024) else { return };
            let entering = cgroup.entering();
            let start = Instant::now();
            let foster = Foster::new(&binary, Place::Pid1).with_machines_users().after(&words(&entering));
            let has_room = kib >= 2048;
            let run = foster.fixture(&[if has_room { "eat-memory-when-told" } else { "eat-memory" }]);
            if has_room {
                run.expect("ready");
                // foster forwards it when it has read the count.
                run.signal(SIGUSR1);
            }
            let Finished { end, stderr, .. } = run.finish();
            assert!(start.elapsed() < SLACK, "{kib} KiB: {:?}: {stderr}", start.elapsed());
            // A foster that has to load a C library finds no room itself, and unshare(1) cannot die of SIGKILL as well.
            if !has_room && !is_musl(&binary) && end == End::Exited(1) {
                continue;
            }
            assert_eq!(end, End::Exited(137), "{kib} KiB: {stderr}");
            assert!(stderr.contains(" was killed by SIGKILL (signal 9)"), "{kib} KiB: {stderr}");
            let is_told = stderr.contains("error: out of memory (oom_kill rose by 1): command ");
            assert!(is_told || !has_room, "{kib} KiB: {stderr}");
        }
    }
}

/// A way to freeze: where, what to write, and what the kernel then says.
struct Freezer {
    parents: &'static [&'static str],
    file: &'static str,
    frozen: &'static str,
    thawed: &'static str,
    /// The file that says whether all are frozen, and how.
    told: (&'static str, &'static str),
    /// SIGKILL ends what is frozen (v2), or waits for the thaw (v1).
    lets_die: bool,
}

const V1: Freezer = Freezer {
    parents: &["/sys/fs/cgroup/freezer"],
    file: "freezer.state",
    frozen: "FROZEN",
    thawed: "THAWED",
    told: ("freezer.state", "FROZEN"),
    lets_die: false,
};
const V2: Freezer = Freezer {
    parents: &["/sys/fs/cgroup/unified", "/sys/fs/cgroup"],
    file: "cgroup.freeze",
    frozen: "1",
    thawed: "0",
    told: ("cgroup.events", "frozen 1"),
    lets_die: true,
};

impl Freezer {
    /// v1's hierarchy may be missing in CI too; one of the two is everywhere.
    fn is_there(&self) -> bool {
        self.parents.iter().any(|parent| {
            let has = |file: &str| std::fs::read_dir(parent).is_ok_and(|_| Path::new(parent).join(file).exists());
            if self.lets_die { has("cgroup.procs") && has("cgroup.controllers") } else { has("cgroup.procs") }
        })
    }

    fn freeze(&self, name: &str, pid: i32) -> Option<Cgroup> {
        let cgroup = Cgroup::new(self.parents, name, &[("cgroup.procs", &pid.to_string())])?;
        cgroup.write(self.file, self.frozen);
        poll("it is frozen", || cgroup.read(self.told.0).contains(self.told.1));
        Some(cgroup)
    }

    fn thaw(&self, cgroup: &Cgroup) {
        cgroup.write(self.file, self.thawed);
    }
}

fn freezers() -> Vec<&'static Freezer> {
    if !runs_as_root() {
        skipped("not root, so nothing is frozen");
        return Vec::new();
    }
    let there: Vec<&Freezer> = [&V1, &V2].into_iter().filter(|freezer| freezer.is_there()).collect();
    assert!(!there.is_empty() || std::env::var_os("CI").is_none(), "CI, and no freezer");
    if there.is_empty() {
        skipped("no freezer of cgroup v1 or v2 is there, so nothing is frozen");
    }
    there
}

fn waiting(binary: &Path, place: Place, options: &[&str]) -> Run {
    let run = Foster::new(binary, place).with_machines_users().options(options).fixture(&["wait-for-term"]);
    run.expect("ready");
    run
}

/// What it was sent meanwhile comes with the thaw. So do foster's own signals if it is foster that was frozen.
#[test]
fn what_was_frozen_goes_on_as_if_it_had_not_been() {
    if !namespaces() {
        return;
    }
    everywhere(|binary, place| {
        for freezer in freezers() {
            for is_foster in [false, true] {
                let run = waiting(binary, place, &["-k", "60"]);
                let foster = run.foster_pid();
                let pid = if is_foster { foster } else { only_child(foster) };
                let Some(cgroup) = freezer.freeze("thawed", pid) else { return };
                run.signal(SIGTERM);
                freezer.thaw(&cgroup);
                let Finished { end, stderr, .. } = run.finish();
                assert_eq!((end, stderr.as_str()), (End::Exited(42), ""), "foster itself: {is_foster}");
            }
        }
    });
}

/// With v2 SIGKILL ends it at once. With v1 it does not before the thaw: foster says so after its 10 s, and ends. As PID 1 it
/// has ended then as far as it can, and the kernel holds it until the last process of the namespace is gone.
#[test]
fn a_frozen_command_keeps_no_deadline_away() {
    if !namespaces() {
        return;
    }
    // The 10 s are the same for all of them.
    std::thread::scope(|scope| {
        for (number, binary) in binaries().into_iter().enumerate() {
            for place in PLACES {
                for freezer in freezers() {
                    let binary = binary.clone();
                    let name = format!("frozen-{number}-{place:?}-{}", if freezer.lets_die { "v2" } else { "v1" });
                    scope.spawn(move || frozen_through_its_grace(&binary, place, freezer, &name));
                }
            }
        }
    });
}

fn frozen_through_its_grace(binary: &Path, place: Place, freezer: &Freezer, name: &str) {
    let mut run = waiting(binary, place, &["-k", "500ms"]);
    let foster = run.foster_pid();
    let Some(cgroup) = freezer.freeze(name, only_child(foster)) else { return };
    let start = Instant::now();
    run.signal(SIGTERM);
    run.says("the grace is over, SIGKILL to 1 process: ");
    if !freezer.lets_die {
        run.says("foster ends without 1 process that SIGKILL did not end: ");
        let took = start.elapsed();
        let limit = Duration::from_millis(10_500) + SLACK;
        assert!(took < limit, "{name}: {took:?}: {}", run.stderr());
        if place == Place::Subreaper {
            // It has named who is left, and ends: nobody can wait for ever. The command has not ended, so by a code.
            run.expect("foster exited 137");
            run.expect("strays 0 left 1");
            freezer.thaw(&cgroup);
            return;
        }
        poll("foster has done all that it can", || matches!(state(foster), 'S' | 'D' | 'Z'));
        assert!(!run.has_ended(), "{name}: the kernel ends a namespace when nobody is left in it");
        freezer.thaw(&cgroup);
    } else {
        assert!(start.elapsed() < Duration::from_millis(500) + SLACK, "{name}: {:?}", start.elapsed());
    }
    let Finished { end, stderr, .. } = run.finish();
    let killed = if place == Place::Pid1 { End::Exited(137) } else { End::Killed(9) };
    assert_eq!(end, killed, "{name}: {stderr}");
}
