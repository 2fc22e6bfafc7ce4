//! What foster costs, where that can be told exactly: sizes and counts. Times are for `make bench`.
//!
//! The figures are those of the release build for musl, which is what is shipped; no other is held to them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{Foster, PLACES, Place, Run, Scratch, binaries, children, namespaces, poll, send, skipped};
use crate::{page_cache, tracer};

/// Half of the smallest peer's 699,160.
const BYTES: u64 = 350_000;
/// As PID 1; the fewest of a peer's are 24, in both cases with the command's execve.
const START_SYSTEM_CALLS: usize = 12;
/// The forward, two wake-ups with a look at the clock and at the children, the sleep between, the reap and the end; and three
/// because it is interrupted first, to be held.
const STOP_SYSTEM_CALLS: u64 = 11;
/// The least of a peer's is 48.
const PRIVATE_DIRTY_KIB: u64 = 40;
/// The least of a peer's is 688. More than the 240 or so that it takes outside of a container: src/layout.ld lays out
/// something that is not there any more. Without that layout it is 300.
const RSS_KIB: u64 = 260;

/// The release build for musl, if it is among the binaries under test.
fn shipped() -> Option<PathBuf> {
    let found = binaries().into_iter().find(|path| path.ends_with("release/foster") && names_musl(path));
    if found.is_none() {
        skipped("no release build for musl is in TEST_BINARIES, so no budget is checked");
    }
    found.filter(|_| namespaces())
}

/// This machine's, not the one of 32 bits that is tested on it too.
fn names_musl(path: &Path) -> bool {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    path.components().any(|part| part.as_os_str().to_string_lossy() == target)
}

#[test]
fn the_binary_is_small() {
    let Some(foster) = shipped() else { return };
    let bytes = std::fs::metadata(&foster).unwrap().len();
    assert!(bytes <= BYTES, "{bytes} bytes are more than {BYTES}");
}

/// From foster's execve to the command's.
#[test]
fn a_start_takes_few_system_calls() {
    let Some(foster) = shipped() else { return };
    for place in PLACES {
        let scratch = Scratch::new(&format!("budget-start-{place:?}"));
        let gate = scratch.path("gate");
        let before = [crate::harness::fixture(), "held".into(), gate.clone()];
        let before = before.each_ref().map(|word| word.to_str().unwrap());
        let run = Foster::new(&foster, place).after(&before).fixture(&["wait-for-term"]);
        run.expect("held");
        let calls = tracer::system_calls_of_the_start(run.foster_pid(), || std::fs::write(&gate, "").unwrap());
        // A subreaper has to become one.
        let most = START_SYSTEM_CALLS + usize::from(place == Place::Subreaper);
        assert!(calls.len() <= most, "{} system calls as {place:?}, more than {most}: {calls:?}", calls.len());
        run.expect("ready");
        run.signal(libc::SIGTERM);
        run.finish();
    }
}

/// The child begins on foster's own stack, below what the sleeping foster uses (`vfork` in src/sys/children.rs). What is left
/// between the two, in the program as it is shipped, is not used up by the C library's clone(3).
#[cfg(target_arch = "x86_64")]
#[test]
fn the_childs_stack_begins_well_below_what_foster_uses() {
    const MARGIN: u64 = 256;
    let Some(foster) = shipped() else { return };
    let scratch = Scratch::new("budget-stack");
    let gate = scratch.path("gate");
    let before = [crate::harness::fixture(), "held".into(), gate.clone()];
    let before = before.each_ref().map(|word| word.to_str().unwrap());
    let run = Foster::new(&foster, Place::Pid1).after(&before).fixture(&["wait-for-term"]);
    run.expect("held");
    let init = tracer::Tracee::seize(run.foster_pid());
    std::fs::write(&gate, "").unwrap();
    tracer::run_to_exec(&init);
    let clone = u64::try_from(libc::SYS_clone).unwrap();
    while tracer::step(&init, tracer::Until::SystemCall) != tracer::Stop::Entry(clone) {}
    let (fosters, childs) = init.stack_pointer_and_second_argument();
    let left = fosters.checked_sub(childs).expect("the child's stack lies below foster's");
    assert!((MARGIN..4096).contains(&left), "{left} bytes are left");
    drop(init);
    run.expect("ready");
    run.signal(libc::SIGTERM);
    run.finish();
}

/// From SIGTERM to foster's end, when the command ends and leaves nothing behind.
#[test]
fn a_stop_takes_few_system_calls() {
    let Some(foster) = shipped() else { return };
    for place in PLACES {
        let run = Foster::new(&foster, place).fixture(&["wait-for-term"]);
        run.expect("ready");
        let pid = run.foster_pid();
        poll("foster is asleep", || tracer::state(pid) == 'S');
        let calls = tracer::system_calls_until_asleep(pid, || run.signal(libc::SIGTERM));
        assert!(calls <= STOP_SYSTEM_CALLS, "{calls} system calls as {place:?}");
        run.finish();
    }
}

/// Nothing is polled, and nothing that the command might wait for is held.
#[test]
fn an_idle_foster_is_one_thread_that_sleeps_and_holds_next_to_nothing() {
    let Some(foster) = shipped() else { return };
    page_cache::drop_program(&foster);
    for place in PLACES {
        let run = Foster::new(&foster, place).fixture(&["wait-for-term"]);
        run.expect("ready");
        let pid = run.foster_pid();
        poll("foster is asleep", || tracer::state(pid) == 'S');
        let switches =
            || number(pid, "status", "voluntary_ctxt_switches:") + number(pid, "status", "nonvoluntary_ctxt_switches:");
        let before = switches();
        // The one span of time in these tests: nothing can be waited for that is not to happen.
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(switches(), before, "it was scheduled while nothing happened, as {place:?}");
        assert_eq!(number(pid, "status", "Threads:"), 1);
        let dirty = number(pid, "smaps_rollup", "Private_Dirty:");
        assert!(dirty <= PRIVATE_DIRTY_KIB, "{dirty} KiB of memory of its own as {place:?}");
        let resident = number(pid, "smaps_rollup", "Rss:");
        assert!(resident <= RSS_KIB, "{resident} KiB of resident memory as {place:?}");
        // stderr; as PID 1 also stdin and stdout, which programs in containers expect in /proc/1/fd.
        let most = if place == Place::Pid1 { 3 } else { 1 };
        assert!(std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() <= most);
        run.signal(libc::SIGTERM);
        run.finish();
    }
}

/// A number in a file of /proc/PID.
fn number(pid: i32, file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    value.split_whitespace().next().unwrap().parse().unwrap()
}

/// An orphan costs one wait4, however many die in the same instant.
#[test]
fn an_orphan_costs_one_system_call() {
    let Some(foster) = shipped() else { return };
    for place in PLACES {
        let (run, pid) = gated(&foster, place, 2000, 0);
        let calls = tracer::system_calls_until_asleep(pid, || {
            send(children(pid)[0], libc::SIGUSR1);
            poll("every orphan is dead", || zombies(pid) == 2000);
        });
        assert_eq!(zombies(pid), 0);
        // 4 for the interruption, the sleep after it, the look that finds nothing, and the last sleep; and a look at the clock
        // after 1,024 of them.
        assert!(calls <= 2005, "{calls} system calls for 2,000 orphans as {place:?}");
        run.signal(libc::SIGTERM);
        run.finish();
    }
}

/// As PID 1 one call reaches all of them; a subreaper has to find each through /proc, and that must not become a search
/// for each among all.
#[test]
fn stopping_leftovers_costs_the_same_for_each() {
    let Some(foster) = shipped() else { return };
    for (place, each) in [(Place::Pid1, 1), (Place::Subreaper, 25)] {
        for leftovers in [100, 400] {
            let (run, pid) = gated(&foster, place, 0, leftovers);
            let calls = tracer::system_calls_until_asleep(pid, || send(children(pid)[0], libc::SIGUSR2));
            assert!(calls <= 150 + each * leftovers, "{calls} system calls for {leftovers} leftovers as {place:?}");
            run.finish();
        }
    }
}

/// A foster whose command has so many orphans to let die and so many children to leave behind.
fn gated(foster: &Path, place: Place, orphans: u64, children: u64) -> (Run, i32) {
    let run = Foster::new(foster, place).fixture(&["gated", &orphans.to_string(), &children.to_string()]);
    run.expect("ready");
    let pid = run.foster_pid();
    (run, pid)
}

fn zombies(pid: i32) -> usize {
    children(pid).into_iter().filter(|child| tracer::state(*child) == 'Z').count()
}
