//! More of everything than there ever should be, and a stop request in the middle: nothing is lost, no zombie is left, and
//! foster's memory stays what it was. And the opposite: where nothing happens foster does nothing, and what happens all
//! the time costs no allocation.
//!
//! TEST_SECONDS: how long a soak lasts and a command goes on forking (otherwise seconds).
//! TEST_ZOMBIES: how many are inherited at once (otherwise 10,000).

use std::time::Duration;

use crate::harness::{
    End, Finished, Foster, PLACES, Run, Scratch, binaries, everywhere, example, namespaces, number_of_the_sleep, poll,
    with_all_processors,
};

const SIGUSR1: i32 = 10;
const SIGTERM: i32 = 15;

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().expect("a number"))
}

/// A line of foster's /proc/PID/status, in KiB or as a plain number.
fn status(run: &Run, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", run.foster_pid())).expect("foster lives");
    let line = status.lines().find(|line| line.starts_with(key)).expect(key);
    line.split_whitespace().nth(1).expect("a value").parse().expect("a number")
}

/// Memory of foster's own, which no page of its program that was needed for the first time counts among.
struct Memory(u64);

impl Memory {
    fn of(run: &Run) -> Memory {
        Memory(status(run, "RssAnon:"))
    }

    /// A few pages more of stack, or of a line that is written for the first time, are no growth.
    fn is_flat(&self, run: &Run) {
        let now = status(run, "RssAnon:");
        assert!(now <= self.0 + 64, "foster's memory grew from {} KiB to {now} KiB", self.0);
    }
}

/// 100 rounds of 500 signals and 20 orphans each.
#[test]
fn fifty_thousand_signals_while_two_thousand_orphans_die() {
    let _alone = with_all_processors();
    everywhere(|binary, place| {
        for option in ["-g", "-vv"] {
            let run = Foster::new(binary, place).option(option).fixture(&["signal-storm", "100", "0"]);
            run.expect("ready");
            run.expect("half");
            run.signal(SIGTERM);
            let memory = Memory::of(&run);
            run.expect("rounds 100 lost 0 doubled 0 zombies 0");
            memory.is_flat(&run);
            run.signal(SIGUSR1);
            assert_eq!(run.finish().end, End::Exited(42), "{option}");
        }
    });
}

#[test]
fn ten_thousand_zombies_inherited_at_once_are_reaped() {
    let _alone = with_all_processors();
    if !namespaces() {
        return;
    }
    let count = from_environment("TEST_ZOMBIES", 10_000);
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).fixture(&["inherit", &count.to_string()]);
        run.expect("ready");
        let memory = Memory::of(&run);
        run.signal(SIGUSR1);
        run.expect(&format!("inherited {count} zombies 0"));
        memory.is_flat(&run);
        run.signal(SIGUSR1);
        let Finished { end, stderr, .. } = run.finish();
        assert_eq!((end, stderr.as_str()), (End::Exited(42), ""));
    });
}

/// The stop request comes through at once, although there is always somebody to reap.
#[test]
fn a_command_that_forks_and_daemonizes_without_end_is_stopped_like_any_other() {
    let _alone = with_all_processors();
    if !namespaces() {
        return;
    }
    let milliseconds = from_environment("TEST_SECONDS", 2) * 1000;
    let half = Duration::from_millis(milliseconds / 2);
    everywhere(|binary, place| {
        for option in ["-g", "-vv"] {
            let run = Foster::new(binary, place).option(option).fixture(&["breed", &milliseconds.to_string()]);
            run.expect("ready");
            let memory = Memory::of(&run);
            run.signal(SIGUSR1);
            // The time itself is what is tested.
            std::thread::sleep(half);
            let lines = from_the_first(&run, "half");
            run.signal(SIGTERM);
            std::thread::sleep(half);
            from_the_first(&run, "bred zombies 0");
            memory.is_flat(&run);
            run.signal(SIGUSR1);
            let Finished { end, lines: rest, stderr } = run.finish();
            assert_eq!(end, End::Exited(42), "{option}");
            let stopped = lines.iter().chain(&rest).filter(|line| *line == "daemon got 15").count();
            assert!(stopped > 0 && !stderr.contains("SIGKILL to"), "{option}: {stopped} daemons were stopped");
        }
    });
}

/// The lines up to this one.
fn from_the_first(run: &Run, line: &str) -> Vec<String> {
    std::iter::repeat_with(|| run.line()).take_while(|other| other != line).collect()
}

/// All at once, so that the machine is as busy as it gets.
#[test]
fn a_soak_leaves_memory_and_descriptors_as_they_were() {
    let _alone = with_all_processors();
    if !namespaces() {
        return;
    }
    let seconds = from_environment("TEST_SECONDS", 8);
    let mut runs = Vec::new();
    for binary in binaries() {
        for place in PLACES {
            let run = Foster::new(&binary, place).fixture(&["signal-storm", "10", &seconds.to_string()]);
            run.expect("ready");
            run.expect("half");
            run.signal(SIGTERM);
            runs.push((Memory::of(&run), descriptors(&run), run));
        }
    }
    // The time itself is what is tested.
    std::thread::sleep(Duration::from_secs(seconds));
    for (memory, before, run) in runs {
        let line = run.line();
        assert!(line.starts_with("rounds ") && line.ends_with(" lost 0 doubled 0 zombies 0"), "{line}");
        memory.is_flat(&run);
        assert_eq!(descriptors(&run), before);
        run.signal(SIGUSR1);
        assert_eq!(run.finish().end, End::Exited(42));
    }
}

fn descriptors(run: &Run) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", run.foster_pid())).expect("foster lives").count()
}

/// Nothing wakes foster while nothing happens: in ten seconds it is not scheduled once.
#[test]
fn idle_for_ten_seconds_foster_does_not_wake_up() {
    if !namespaces() {
        return;
    }
    let mut runs = Vec::new();
    for binary in binaries() {
        for place in PLACES {
            let options = ["--grace=5s", "--stop-delay=1s", "-vvv"];
            let run = Foster::new(&binary, place).options(&options).fixture(&["wait-for-term"]);
            run.expect("ready");
            let syscall = format!("/proc/{}/syscall", run.foster_pid());
            let sleeps = number_of_the_sleep(&binary);
            poll("foster sleeps", || std::fs::read_to_string(&syscall).unwrap().split(' ').next() == Some(&sleeps));
            runs.push(run);
        }
    }
    let switches = |run: &Run| status(run, "voluntary_ctxt_switches:") + status(run, "nonvoluntary_ctxt_switches:");
    let before: Vec<u64> = runs.iter().map(switches).collect();
    // The time itself is what is tested.
    std::thread::sleep(Duration::from_secs(10));
    assert_eq!(runs.iter().map(switches).collect::<Vec<_>>(), before);
    for run in runs {
        run.signal(SIGUSR1);
        assert_eq!(run.finish().end, End::Exited(43));
    }
}

/// At the default level, for orphans and for signals.
#[test]
fn what_happens_all_the_time_allocates_nothing() {
    if !namespaces() {
        return;
    }
    let scratch = Scratch::new("counting");
    let file = scratch.file("count", &[0; 8], "644");
    let count = || u64::from_ne_bytes(std::fs::read(&file).unwrap().try_into().expect("8 bytes"));
    for place in PLACES {
        let run = Foster::new(&example("counting"), place).env("COUNTING_FILE", &file).fixture(&["delay"]);
        run.expect("ready");
        let burst = || {
            run.signal(SIGUSR1);
            run.expect("reaped 5 zombies 0");
            run.signal(40);
            run.expect("got 40");
        };
        // The first death may come before foster has looked at its cgroup.
        burst();
        let before = count();
        assert!(before > 0, "it counts");
        (0..50).for_each(|_| burst());
        assert_eq!(count(), before, "{place:?}");
        run.signal(SIGTERM);
        assert_eq!(run.finish().end, End::Exited(42));
    }
}
