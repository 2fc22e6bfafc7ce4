//! What foster costs, where that can be told exactly: sizes and counts. Times are for `make bench`.
//!
//! The figures are those of the release build for musl, which is what is shipped; no other is held to them.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{Foster, PLACES, Place, Run, Scratch, binaries, children, namespaces, poll, send, skipped};
use crate::{page_cache, tracer};

/// The smallest peer has 699,160, without what foster does.
const BYTES: u64 = 255_000;
/// As PID 1; the fewest of a peer's are 24, in both cases with the command's execve.
const START_SYSTEM_CALLS: usize = 12;
/// From the command's execve until foster sleeps, with the call that it sleeps in. On a single processor the command waits
/// for them.
const SETTLING_SYSTEM_CALLS: usize = 12;
/// The forward, two wake-ups with a look at the clock, the sleep between, the reap with the look for more, and the end; and three
/// because it is interrupted first, to be held.
const STOP_SYSTEM_CALLS: u64 = 10;
/// The least of a peer's is 48.
const PRIVATE_DIRTY_KIB: u64 = 16;
/// The kernel begins the stack anywhere within a page, so that it takes one page more now and then.
const STACK_BEGINS_LOWER_KIB: u64 = 4;
/// The least of a peer's is 688. Of this 84 are in the program's file, see src/layout.ld.
const RSS_KIB: u64 = 112;
/// What src/layout.ld promises: all that a life runs and reads lies in the first 84 KiB of the file.
const EVERY_LIFE_KIB: u64 = 84;

/// What foster sees of the cgroups. What it reads at the start, and how, depends on that.
#[derive(Clone, Copy, Debug)]
enum View {
    /// The whole machine's, as outside of a container.
    Machine,
    /// Its own alone, as in a container.
    OwnAlone,
}

const VIEWS: [View; 2] = [View::Machine, View::OwnAlone];

impl View {
    /// A foster that sees this, and is executed by the program `before`, if one is given.
    fn foster(self, binary: &Path, place: Place, before: &[&str]) -> Foster {
        let words: &[&str] = match self {
            View::Machine => &[],
            View::OwnAlone => &["sh", "-c", SEE_THE_OWN_ALONE, "sh"],
        };
        Foster::new(binary, place).after(&[words, before].concat())
    }
}

/// Mounts the cgroup that is the shell's own, and foster's after the exec, in the place of its hierarchy: v1's if the memory
/// controller is there, or v2's.
const SEE_THE_OWN_ALONE: &str = r#"
    own=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
    top=/sys/fs/cgroup/memory
    if [ -z "$own" ]; then own=$(sed -n 's/^0:://p' /proc/self/cgroup); top=/sys/fs/cgroup; fi
    mount --bind "$top$own" "$top" || exit 99
    exec "$@""#;

/// The release build for musl, if it is among the binaries under test.
fn shipped() -> Option<PathBuf> {
    let found = binaries().into_iter().find(|path| path.ends_with("release/foster") && names_musl(path));
    if found.is_none() {
        skipped("no release build for musl is in TEST_BINARIES, so no budget is checked");
    }
    found.filter(|_| namespaces())
}

/// The same, where src/layout.ld says where its parts go.
fn laid_out() -> Option<PathBuf> {
    if cfg!(not(target_arch = "x86_64")) {
        skipped("src/layout.ld is for x86_64");
        return None;
    }
    shipped()
}

fn places_and_views() -> impl Iterator<Item = (Place, View)> {
    PLACES.into_iter().flat_map(|place| VIEWS.map(|view| (place, view)))
}

/// Waits until the command is ready and foster sleeps. Returns foster's pid.
fn asleep(run: &Run) -> i32 {
    run.expect("ready");
    let pid = run.foster_pid();
    poll("foster is asleep", || tracer::state(pid) == 'S');
    pid
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

/// From foster's execve to the command's, and from there until foster sleeps.
#[test]
fn a_start_takes_few_system_calls() {
    let Some(foster) = shipped() else { return };
    for (place, view) in places_and_views() {
        let scratch = Scratch::new(&format!("budget-start-{place:?}-{view:?}"));
        let gate = scratch.path("gate");
        let before = [crate::harness::fixture(), "held".into(), gate.clone()];
        let before = before.each_ref().map(|word| word.to_str().unwrap());
        let run = view.foster(&foster, place, &before).fixture(&["wait-for-term"]);
        run.expect("held");
        let calls = tracer::system_calls_of_the_start(run.foster_pid(), || std::fs::write(&gate, "").unwrap());
        // A subreaper has to become one.
        let most = START_SYSTEM_CALLS + usize::from(place == Place::Subreaper);
        let count = calls.to_the_exec.len();
        assert!(count <= most, "{count} system calls as {place:?}, {view:?}, more than {most}: {calls:?}");
        let count = calls.until_asleep.as_ref().expect("foster sleeps").len();
        assert!(
            count <= SETTLING_SYSTEM_CALLS,
            "{count} system calls after the exec as {place:?}, {view:?}: {calls:?}"
        );
        run.expect("ready");
        run.signal(libc::SIGTERM);
        run.finish();
    }
}

/// src/layout.ld: what every life as PID 1 runs and reads lies together at the beginning of the file, so that the kernel maps
/// nothing else of it. Looked at when foster is about to end, with all of a life behind it.
#[test]
fn a_life_as_pid_1_maps_the_beginning_of_the_file_alone() {
    let Some(foster) = laid_out() else { return };
    page_cache::drop_program(&foster);
    for view in VIEWS {
        let run = view.foster(&foster, Place::Pid1, &[]).fixture(&["wait-for-term"]);
        let pid = asleep(&run);
        let ending = tracer::run_to_its_end(pid, || run.signal(libc::SIGTERM));
        let mapped = mapped_pages(pid, &foster);
        drop(ending);
        run.finish();
        let promised: Vec<u64> = (0..EVERY_LIFE_KIB / PAGE_KIB).collect();
        let others: Vec<u64> = mapped.iter().copied().filter(|page| !promised.contains(page)).collect();
        assert!(!mapped.is_empty(), "a program that runs is mapped");
        assert!(
            others.is_empty(),
            "{} KiB of the file are mapped, {view:?}; not in its first {EVERY_LIFE_KIB} KiB are pages {others:?}. \
             src/layout.ld does not name something that every life runs, or names too much.",
            mapped.len() as u64 * PAGE_KIB
        );
    }
}

const PAGE_KIB: u64 = 4;

/// Which pages of the program's code and constants a process has mapped, counted from the beginning of the file
/// (Documentation/admin-guide/mm/pagemap.rst: a word for each page, bit 63 is whether it is present).
fn mapped_pages(pid: i32, program: &Path) -> Vec<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let pagemap = std::fs::File::open(format!("/proc/{pid}/pagemap")).unwrap();
    let mut mapped = Vec::new();
    for line in maps.lines().filter(|line| line.ends_with(program.to_str().unwrap())) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [range, rights, offset, ..] = fields[..] else { panic!("{line}") };
        // A page that foster has written to is a copy of its own, which Private_Dirty counts.
        if rights.contains('w') {
            continue;
        }
        let number = |text: &str| u64::from_str_radix(text, 16).unwrap() / (PAGE_KIB * 1024);
        let (first, last) = range.split_once('-').unwrap();
        for page in number(first)..number(last) {
            let mut word = [0; 8];
            pagemap.read_exact_at(&mut word, page * 8).unwrap();
            if u64::from_ne_bytes(word) >> 63 == 1 {
                mapped.push(page - number(first) + number(offset));
            }
        }
    }
    mapped
}

/// From SIGTERM to foster's end, when the command ends and leaves nothing behind.
#[test]
fn a_stop_takes_few_system_calls() {
    let Some(foster) = shipped() else { return };
    for place in PLACES {
        let run = Foster::new(&foster, place).fixture(&["wait-for-term"]);
        let pid = asleep(&run);
        let calls = tracer::system_calls_until_asleep(pid, || run.signal(libc::SIGTERM)).unwrap();
        assert!(calls <= STOP_SYSTEM_CALLS, "{calls} system calls as {place:?}");
        run.finish();
    }
}

/// Nothing is polled, and nothing that the command might wait for is held.
#[test]
fn an_idle_foster_is_one_thread_that_sleeps_and_holds_next_to_nothing() {
    let Some(foster) = shipped() else { return };
    for place in PLACES {
        let run = Foster::new(&foster, place).fixture(&["wait-for-term"]);
        let pid = asleep(&run);
        let switches =
            || number(pid, "status", "voluntary_ctxt_switches:") + number(pid, "status", "nonvoluntary_ctxt_switches:");
        let before = switches();
        // The one span of time in these tests: nothing can be waited for that is not to happen.
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(switches(), before, "it was scheduled while nothing happened, as {place:?}");
        assert_eq!(number(pid, "status", "Threads:"), 1);
        // stderr; as PID 1 also stdin and stdout, which programs in containers expect in /proc/1/fd.
        let most = if place == Place::Pid1 { 3 } else { 1 };
        assert!(std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() <= most);
        run.signal(libc::SIGTERM);
        run.finish();
    }
}

/// In a container and outside of one. The least of a few starts, and none much above it, because of where the stack begins.
#[test]
fn an_idle_foster_takes_little_memory() {
    let Some(foster) = shipped() else { return };
    page_cache::drop_program(&foster);
    for (place, view) in places_and_views() {
        let sizes = (0..5).map(|_| {
            // The kernel puts the environment onto the stack: that of cargo test takes two pages.
            let run = view.foster(&foster, place, &["env", "-i", "PATH=/usr/bin:/bin"]).fixture(&["wait-for-term"]);
            let pid = asleep(&run);
            let sizes = (number(pid, "smaps_rollup", "Private_Dirty:"), number(pid, "smaps_rollup", "Rss:"));
            run.signal(libc::SIGTERM);
            run.finish();
            sizes
        });
        let (dirty, resident): (Vec<u64>, Vec<u64>) = sizes.unzip();
        let fits = |sizes: &[u64], most: u64| {
            sizes.iter().any(|size| *size <= most) && sizes.iter().all(|size| *size <= most + STACK_BEGINS_LOWER_KIB)
        };
        assert!(fits(&dirty, PRIVATE_DIRTY_KIB), "{dirty:?} KiB of memory of its own as {place:?}, {view:?}");
        assert!(fits(&resident, RSS_KIB), "{resident:?} KiB of resident memory as {place:?}, {view:?}");
    }
}

/// Also with the environment of a pod: behind the page of data lies memory that the kernel sets up only when it is written to,
/// which takes a twentieth of a start (docs/performance.md).
#[test]
fn all_that_foster_writes_outside_of_its_stack_is_one_page() {
    let Some(foster) = laid_out() else { return };
    let variables = (0..60).map(|i| format!("SERVICE_{i}_PORT=tcp://10.0.0.{i}:8000")).collect::<Vec<_>>();
    for (place, view) in places_and_views() {
        let alone = ["env", "-i", "PATH=/usr/bin:/bin"].into_iter().chain(variables.iter().map(String::as_str));
        let run = view.foster(&foster, place, &alone.collect::<Vec<_>>()).fixture(&["wait-for-term"]);
        let pid = asleep(&run);
        let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
        run.signal(libc::SIGTERM);
        run.finish();
        let (others, _stack) = smaps.split_once("[stack]").expect("the stack is mapped last but for the kernel's");
        let dirty = others.lines().filter_map(|line| line.strip_prefix("Private_Dirty:"));
        let kib: u64 = dirty.map(|kib| kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap()).sum();
        assert_eq!(kib, PAGE_KIB, "KiB are written to, as {place:?}, {view:?}: {others}");
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
        })
        .unwrap();
        assert_eq!(zombies(pid), 0);
        // 4 for the interruption, the sleep after it, the look that finds nothing, and the last sleep; and a look at the clock
        // after 1,024 of them.
        assert!(calls <= 2005, "{calls} system calls for 2,000 orphans as {place:?}");
        run.signal(libc::SIGTERM);
        run.finish();
    }
}

/// When all leftovers were asked at once, 1,017 system calls stopped 1,000 of them as PID 1. To ask by generation may cost a
/// tenth more.
const FLAT_LEFTOVERS_OF_PID_1: u64 = 1_017 * 11 / 10;
/// A subreaper has to find each of them through /proc, and that must not become a search for each among all: it was 20.
const EACH_LEFTOVER_OF_A_SUBREAPER: u64 = 8;

/// As PID 1 one call reaches all of them. The least of a few runs: how many of them a wake-up finds dead differs.
#[test]
fn stopping_leftovers_costs_the_same_for_each() {
    let Some(foster) = shipped() else { return };
    let least = |place, leftovers| {
        let runs = (0..3).map(|_| {
            let (run, pid) = gated(&foster, place, 0, leftovers);
            let calls = tracer::system_calls_until_asleep(pid, || send(children(pid)[0], libc::SIGUSR2)).unwrap();
            run.finish();
            calls
        });
        runs.min().unwrap()
    };
    let calls = least(Place::Pid1, 1000);
    assert!(calls <= FLAT_LEFTOVERS_OF_PID_1, "{calls} system calls for 1,000 leftovers as PID 1");
    for leftovers in [100, 400, 1000] {
        let calls = least(Place::Subreaper, leftovers);
        let most = EACH_LEFTOVER_OF_A_SUBREAPER * leftovers;
        assert!(calls <= most, "{calls} system calls for {leftovers} leftovers as subreaper");
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
