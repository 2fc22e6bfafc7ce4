//! `--watch`: foster itself looks while the command runs, and says what an operator has to know before it is too late.
//!
//! A look may come while the command is still making zombies. So each limit is such that only the last one passes it.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{
    DEADLINE, End, Foster, PLACES, Run, Scratch, everywhere, example, namespaces, number_of_the_sleep, only_child,
    plainly, poll, send,
};
use crate::tracer;

const SIGKILL: i32 = 9;
const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;
const SIGTERM: i32 = 15;

/// Without a /proc.
const HIDE: [&str; 4] = ["sh", "-c", "mount -t tmpfs none /proc && exec \"$@\"", "sh"];

/// The runner's process ID in its namespace, once its jobs have all ended.
fn runner(run: &Run) -> i32 {
    let line = run.line();
    let pid = line.strip_prefix("runner ").and_then(|rest| rest.strip_suffix(" ready"));
    pid.unwrap_or_else(|| panic!("{line}; {}", run.stderr())).parse().expect("a pid")
}

/// foster's lines that have this text.
fn lines_with<'a>(stderr: &'a str, text: &str) -> Vec<&'a str> {
    stderr.lines().filter(|line| line.contains(text)).collect()
}

/// The times that foster went to sleep by itself.
fn sleeps(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("foster is there");
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.expect("a count").trim().parse().expect("a number")
}

/// Whether foster is in its sleep, and whether that has a timeout.
fn sleeps_without_a_timer(pid: i32, number: &str) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/syscall")).expect("foster is there");
    let words: Vec<&str> = state.split(' ').collect();
    // Number, mask, siginfo, timeout.
    words[0] == number && words[3] == "0x0"
}

#[test]
fn zombies_are_said_when_there_are_too_many_when_they_have_doubled_and_when_they_are_gone() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).options(&["-v", "--watch=zombies=10,every=1s"]).fixture(&["runner", "11"]);
        let pid = runner(&run);
        let passed = format!(
            "]: warning: too many zombies: 11 (limit 10); pid {pid} (runner) does not wait for 11 of them: fix or restart it\n"
        );
        run.says(&passed);
        run.signal(SIGUSR2);
        run.expect("doubled");
        let doubled =
            format!("]: warning: zombies have doubled: 22 (limit 10); pid {pid} (runner) does not wait for 22 ");
        run.says(&doubled);
        // A look that finds what was said already says nothing.
        let foster = run.foster_pid();
        let before = sleeps(foster);
        poll("foster has looked twice", || sleeps(foster) >= before + 3);
        run.signal(SIGUSR1);
        run.expect("mended");
        run.says("]: info: no longer too many zombies: 0 (limit 10)\n");
        run.signal(SIGTERM);
        let finished = run.finish();
        assert_eq!(finished.end, End::Exited(42));
        assert_eq!(lines_with(&finished.stderr, " zombies").len(), 3, "{finished:?}");
        assert_eq!(lines_with(&finished.stderr, "warning").len(), 2, "{finished:?}");
    });
}

#[test]
fn pids_are_said_with_their_limit_and_a_variable_is_enough() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).env("FOSTER_WATCH", "pids=0%,every=1s").fixture(&["wait-for-term"]);
        run.expect("ready");
        run.says("]: warning: too few pids left: ");
        run.signal(SIGTERM);
        let finished = run.finish();
        let [line] = lines_with(&finished.stderr, "warning")[..] else { panic!("{finished:?}") };
        assert!(line.contains(" used, ") && line.contains("% (limit 0%, "), "{line}");
        assert!(line.ends_with("; threads, zombies count: stop some or raise it"), "{line}");
        assert!(line.len() < 160, "{line}");
    });
}

#[test]
fn json_has_the_keys_of_a_check() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place)
            .options(&["--log-format=json", "--watch", "zombies=6,every=1s"])
            .fixture(&["runner", "7"]);
        let pid = runner(&run);
        run.says("\"pids_percent_limit\":90}\n");
        let stderr = run.stderr();
        let line = lines_with(&stderr, "watch_zombies")[0];
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for (key, expected) in [
            ("level", Value::from("warning")),
            ("event", "watch_zombies".into()),
            ("turn", "passed".into()),
            ("healthy", false.into()),
            ("zombies", 7.into()),
            ("zombie_limit", 6.into()),
            ("zombie_parents", 1.into()),
            ("zombies_by_parent", serde_json::json!([{"pid": pid, "name": "runner", "count": 7, "tracer": false}])),
        ] {
            assert_eq!(value[key], expected, "{key}: {line}");
        }
        let check = run.exec(binary, &["--check", "--log-format=json"]);
        let check: Value = serde_json::from_slice(&check.stdout).expect("JSON");
        let keys = check.as_object().expect("an object").keys();
        assert!(keys.clone().count() > 8 && keys.clone().all(|key| value.get(key).is_some()), "{check} {line}");
        run.signal(SIGTERM);
        run.finish();
    });
}

/// What cannot be seen now will not be seen later, and nobody wants to hear that every 30 s.
#[test]
fn where_it_cannot_look_it_says_so_once_and_looks_no_more() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).after(&HIDE).option("--watch=every=1s").fixture(&["wait-for-term"]);
        run.expect("ready");
        run.says(
            "]: warning: cannot look, so --watch is off: /proc is not that of this PID namespace, or not mounted\n",
        );
        let (foster, number) = (run.foster_pid(), number_of_the_sleep(binary));
        poll("it sleeps without a timer", || sleeps_without_a_timer(foster, &number));
        run.signal(SIGTERM);
        let (finished, _) = run.finish_whatever_is_left();
        assert_eq!(finished.end, End::Exited(42), "{finished:?}");
        assert_eq!(lines_with(&finished.stderr, "cannot look").len(), 1, "{finished:?}");
    });
}

#[test]
fn foster_wakes_up_once_an_interval_and_without_the_option_never() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).option("--watch=every=1s").fixture(&["wait-for-term"]);
        run.expect("ready");
        let foster = run.foster_pid();
        let first = sleeps(foster);
        poll("it looks", || sleeps(foster) > first);
        let (before, start) = (sleeps(foster), Instant::now());
        poll("it looks four times more", || sleeps(foster) >= before + 4);
        assert!(start.elapsed() > Duration::from_millis(3_400), "four looks in {:?}", start.elapsed());
        run.signal(SIGTERM);
        assert_eq!(run.finish().stderr, "", "all is well");

        for off in [None, Some(""), Some("0"), Some("No")] {
            let foster = Foster::new(binary, place).without_env("FOSTER_WATCH");
            let foster = off.into_iter().fold(foster, |foster, off| foster.env("FOSTER_WATCH", off));
            let run = foster.fixture(&["wait-for-term"]);
            run.expect("ready");
            let (foster, number) = (run.foster_pid(), number_of_the_sleep(binary));
            poll("it sleeps without a timer", || sleeps_without_a_timer(foster, &number));
            run.signal(SIGTERM);
            run.finish();
        }
    });
}

/// A look at a thousand zombies takes some ten thousand system calls. A stop request waits for a part of it, and then foster
/// looks no more: it has to keep the time.
#[test]
fn a_stop_does_not_wait_for_a_look() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place)
            .options(&["--watch=zombies=999,every=1s", "--grace=3s"])
            .fixture(&["runner", "1000", "stubborn"]);
        runner(&run);
        run.says("too many zombies: 1000 (limit 999)");
        let foster = run.foster_pid();
        let start = Instant::now();
        // Asked at any moment, also in a look.
        let calls = tracer::system_calls_until_asleep(foster, || run.signal(SIGTERM)).expect("it sleeps");
        assert!(calls < 2_500, "{calls} system calls between a stop request and the next sleep");
        run.expect("got 15");
        let finished = run.finish();
        finished.assert_ended_by(place, SIGKILL);
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(2_900) && took < DEADLINE / 2, "the grace of 3 s took {took:?}");
        assert_eq!(lines_with(&finished.stderr, "the grace is over, SIGKILL to ").len(), 1, "{finished:?}");
    });
}

/// Without a grace there is nothing else that foster would have to wake up for.
#[test]
fn once_a_stop_is_under_way_foster_looks_no_more() {
    everywhere(|binary, place| {
        let run =
            Foster::new(binary, place).options(&["--watch=zombies=10,every=1s"]).fixture(&["runner", "11", "stubborn"]);
        runner(&run);
        run.says("too many zombies: 11 (limit 10)");
        let (foster, number) = (run.foster_pid(), number_of_the_sleep(binary));
        assert!(!sleeps_without_a_timer(foster, &number), "the next look is awaited");
        run.signal(SIGTERM);
        run.expect("got 15");
        poll("it sleeps without a timer", || sleeps_without_a_timer(foster, &number));
        send(only_child(foster), SIGKILL);
        run.finish().assert_ended_by(place, SIGKILL);
    });
}

/// Whatever is seen: a look that asks for memory could find none, and foster would end.
#[test]
fn no_look_asks_for_memory() {
    if !namespaces() {
        return;
    }
    let scratch = Scratch::new("watch-counting");
    for place in PLACES {
        let file = scratch.path(&format!("{place:?}"));
        std::fs::write(&file, [0; 8]).unwrap();
        let allocations = || u64::from_ne_bytes(std::fs::read(&file).unwrap().try_into().unwrap());
        let run = Foster::new(&example("counting"), place)
            .env("COUNTING_FILE", &file)
            .env("FOSTER_LOG", "info/zombies")
            .options(&["--watch=zombies=399,every=1s", "--log-format=json"])
            .fixture(&["runner", "200"]);
        runner(&run);
        let foster = run.foster_pid();
        poll("it sleeps", || tracer::state(foster) == 'S');
        let before = allocations();
        assert!(before > 0, "it counts");
        run.signal(SIGUSR2);
        run.expect("doubled");
        run.says("too many zombies: 400 (limit 399)");
        run.signal(SIGUSR1);
        run.expect("mended");
        run.says("no longer too many zombies: 0 (limit 399)");
        assert_eq!(allocations(), before, "as {place:?}");
        run.signal(SIGTERM);
        run.finish();
    }
}

/// When neither the heap nor a mapping can grow any more, foster still looks, and does not end.
#[test]
fn without_memory_it_looks_all_the_same() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place)
            .options(&["--watch=zombies=399,every=1s"])
            .env("FOSTER_LOG", "info/zombies")
            .fixture(&["runner", "200"]);
        let pid = runner(&run);
        let foster = run.foster_pid();
        let first = sleeps(foster);
        poll("it has looked", || sleeps(foster) > first + 1);
        let limit = plainly(Command::new("prlimit").args(["--pid", &foster.to_string(), "--as=1"]));
        assert!(limit.status.success(), "{limit:?}");
        run.signal(SIGUSR2);
        run.expect("doubled");
        run.says(&format!("too many zombies: 400 (limit 399); pid {pid} (runner) does not wait for 400 of them"));
        run.signal(SIGUSR1);
        run.expect("mended");
        run.says("info: no longer too many zombies: 0 (limit 399)");
        run.signal(SIGTERM);
        assert_eq!(run.finish().end, End::Exited(42));
    });
}

/// A pod's pause process may watch the pod, and a foster that outlives the command its daemons.
#[test]
fn a_pause_is_watched_and_so_are_daemons() {
    everywhere(|binary, place| {
        let pause = Foster::new(binary, place).options(&["--pause", "-v", "--watch=pids=0%,every=1s"]).run::<&str>(&[]);
        pause.says("no command, as --pause says");
        pause.says("]: warning: too few pids left: ");
        pause.signal(SIGTERM);
        assert_eq!(pause.finish().end, End::Exited(0));

        let daemon = ["sh", "-c", "(exec sleep 1000 &)"];
        let run = Foster::new(binary, place).options(&["--wait", "-v", "--watch=pids=0%,every=1s"]).run(&daemon);
        run.says("waiting for them, as --wait says");
        run.says("]: warning: too few pids left: ");
        run.signal(SIGTERM);
        assert_eq!(run.finish().end, End::Exited(0));
    });
}
