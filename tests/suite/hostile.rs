//! A command that does whatever a process may do, from a seed, and the promises that foster keeps meanwhile. Whatever the
//! command and all below it do, foster
//! 1. signals nobody whom it was not told to signal,
//! 2. keeps every deadline,
//! 3. loses no exit status,
//! 4. leaves nobody behind,
//! 5. writes nowhere but to stderr and into the termination log,
//! 6. says nothing that is untrue about who sent what.
//!
//! `tests/fixtures/hostile/random.rs` is the command; `world.rs` beside it is what stands around foster, and reports; here a
//! seed becomes a way to run foster, and a report becomes a verdict. As another init foster has to be no worse than that init
//! itself, which runs the same seeds.
//!
//! TEST_SEED=N runs one seed and shows all of its report; TEST_SECONDS=N runs seeds for so long, from a number on that
//! nobody has tried. Both together run the one seed again and again for so long, as many at a time as always, and tell how
//! late the latest end was.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use splitmix::Random;

use crate::harness::{Scratch, binaries, example, namespaces, runs_as_root, skipped, with_all_processors};

#[path = "../fixtures/hostile/splitmix.rs"]
mod splitmix;

/// How many seeds a run of all tests tries.
const SEEDS: u64 = 400;
/// Most of a run is waiting, so more run at a time than there are processors. Each has at most 200 processes.
const AT_A_TIME: usize = 8;
/// What a loaded machine may need beyond a deadline of foster's.
const SLACK: u64 = 5_000;
/// What leftovers are given when nobody has asked for a stop and no grace is set.
const LEFTOVERS: u64 = 10_000;
/// With so many seeds that found something the hunt ends. The first few are told with all that happened.
const ENOUGH: usize = 40;
const TOLD_WHOLLY: usize = 4;
/// Inits that have no deadlines of their own are given up after this.
const PATIENCE: u64 = 1_500;

const SIGINT: i32 = 2;
const SIGQUIT: i32 = 3;
const SIGCONT: i32 = 18;
const STOPS: [i32; 4] = [19, 20, 21, 22];

/// si_code of what the kernel itself sends: a terminal's signals.
const SI_KERNEL: i32 = 128;

fn percent(random: &mut Random, chance: u64) -> bool {
    random.below(100) < chance
}

/// How one seed runs foster.
#[derive(Debug)]
struct Plan {
    seed: u64,
    /// The name that foster is called by.
    name: &'static str,
    is_pid1: bool,
    terminal: &'static str,
    is_other_user: bool,
    /// foster's process group has a leader outside of its PID namespace, if that is its own.
    is_led_from_outside: bool,
    /// foster is started with a timer that goes off every microsecond.
    has_timer: bool,
    /// The termination log, if any: whether it is there before foster.
    log: Option<bool>,
    options: Vec<String>,
    grace: Option<u64>,
    delay: u64,
    waits: bool,
    ok_exit: Option<&'static str>,
}

impl Plan {
    fn new(seed: u64, has_users: bool, log_path: &str) -> Plan {
        let mut random = Random(seed);
        let is_native = percent(&mut random, 75);
        let (name, ways): (_, &[&str]) = match is_native {
            true => ("foster", &[]),
            false => random.of(&[
                ("tini", &[][..]),
                ("tini", &["-s"]),
                ("tini", &["-g", "-s"]),
                ("dumb-init", &[]),
                ("dumb-init", &["-c"]),
                ("catatonit", &[]),
                ("catatonit", &["-g"]),
            ]),
        };
        let mut plan = Plan {
            seed,
            name,
            is_pid1: percent(&mut random, 45),
            terminal: random.of(&["none", "none", "none", "foreground", "foreground", "background"]),
            is_other_user: false,
            is_led_from_outside: percent(&mut random, 30),
            has_timer: false,
            log: None,
            options: ways.iter().map(|word| (*word).to_owned()).collect(),
            grace: None,
            delay: 0,
            waits: false,
            ok_exit: None,
        };
        if is_native {
            plan.choose_options(&mut random, has_users, log_path);
        }
        plan
    }

    fn choose_options(&mut self, random: &mut Random, has_users: bool, log_path: &str) {
        let mut option = |words: &[&str]| self.options.extend(words.iter().map(|word| (*word).to_owned()));
        if percent(random, 97) {
            let grace = random.of(&[0, 50, 50, 150, 400]);
            option(&["-k", &format!("{grace}ms")]);
            self.grace = Some(grace);
        }
        if percent(random, 50) && has_users {
            option(&["-u", "65534:65534"]);
            self.is_other_user = true;
        }
        if percent(random, 30) {
            option(&["-g"]);
        }
        if percent(random, 15) && self.grace.is_some() {
            option(&["--wait"]);
            self.waits = true;
        }
        // Shorter than the grace, as foster demands.
        if percent(random, 20) && self.grace != Some(0) {
            self.delay = random.of(&[10, 30]);
            option(&["--stop-delay", &format!("{}ms", self.delay)]);
        }
        if percent(random, 40) {
            option(&["--termination-log", log_path]);
            self.log = Some(percent(random, 50));
        }
        if percent(random, 20) {
            let code = random.of(&["42", "stop"]);
            option(&["-e", code]);
            self.ok_exit = Some(code);
        }
        match random.of(&["", "-v", "-vv", "-vvv", "-w"]) {
            "" => {}
            word => option(&[word]),
        }
        if percent(random, 15) {
            option(&["--log-format", "json"]);
        }
        if percent(random, 10) {
            option(&["-r", "USR1:USR2"]);
        }
        self.has_timer = percent(random, 3);
    }

    fn is_native(&self) -> bool {
        self.name == "foster"
    }

    fn is_subreaper(&self) -> bool {
        !self.is_pid1
            && (self.is_native() || self.name == "catatonit" || self.options.iter().any(|option| option == "-s"))
    }

    /// When the world gives up, in milliseconds since the command began. The stop request comes within 125 ms.
    fn patience(&self) -> u64 {
        match self.grace {
            Some(grace) => 130 + self.delay + grace + SLACK,
            None if self.is_native() => LEFTOVERS + SLACK,
            None => PATIENCE,
        }
    }

    fn run(&self, program: &Path, scratch: &Scratch) -> Report {
        let mut words = Vec::new();
        words.extend(self.is_other_user.then_some("user"));
        words.extend(self.is_led_from_outside.then_some("outside"));
        words.extend((self.log == Some(true)).then_some("log"));
        words.extend(self.has_timer.then_some("timer"));
        let mut world = Command::new(scratch.path("hostile"));
        world.args(["world", &self.seed.to_string(), if self.is_pid1 { "pid1" } else { "subreaper" }]);
        world.args([self.terminal, &words.join(","), &self.patience().to_string()]);
        world.arg(scratch.path("disk")).arg(program).args(&self.options);
        world.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        Report::of(&mut world)
    }
}

/// What the world has seen.
struct Report(Vec<String>);

impl Report {
    fn of(world: &mut Command) -> Report {
        let mut child =
            world.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("world");
        let (mut out, mut err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let reader = std::thread::spawn(move || {
            let (mut text, mut errors) = (Vec::new(), Vec::new());
            // The second one is short, or there is a bug in the world.
            let _ = out.read_to_end(&mut text).and_then(|_| err.read_to_end(&mut errors));
            (text, errors)
        });
        let start = Instant::now();
        while child.try_wait().expect("wait").is_none() {
            if start.elapsed() > Duration::from_secs(60) {
                // And with it, its namespaces.
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let (text, errors) = reader.join().expect("the reader");
        let mut lines: Vec<String> =
            text.split(|byte| *byte == b'\n').map(|l| String::from_utf8_lossy(l).into()).collect();
        lines.extend(String::from_utf8_lossy(&errors).lines().map(|line| format!("broken {line}")));
        lines.retain(|line| !line.is_empty());
        Report(lines)
    }

    fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter_map(move |line| line.strip_prefix(word)?.strip_prefix(' '))
    }

    fn one<'a>(&'a self, word: &'a str) -> &'a str {
        self.all(word).next().unwrap_or_default()
    }

    /// In milliseconds: the command's beginning and end, the first stop request, foster's end; -1 for what did not happen.
    fn times(&self) -> [i64; 4] {
        let mut times = self.one("times").split(' ').map(|time| time.parse().unwrap_or(-1));
        std::array::from_fn(|_| times.next().unwrap_or(-1))
    }
}

/// A promise that was broken, by its number, and how.
type Fault = (u32, String);

fn judge(plan: &Plan, report: &Report) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !report.one("broken").is_empty() || report.0.last().is_none_or(|line| line != "done") {
        faults.push((0, format!("the run itself: {}", report.one("broken"))));
        return faults;
    }
    faults.extend(report.all("hit").filter_map(|hit| stray_signal(plan, hit)).map(|fault| (1, fault)));
    faults.extend(report.all("stolen").map(|what| (1, format!("foster took {what}"))));
    faults.extend(missed_deadline(plan, report).map(|fault| (2, fault)));
    faults.extend(wrong_status(plan, report).map(|fault| (3, fault)));
    faults.extend(left_behind(plan, report).into_iter().map(|fault| (4, fault)));
    faults.extend(report.all("file").map(|file| (5, format!("foster wrote {file}"))));
    faults.extend(report.all("stderr").filter_map(|line| untrue(plan, report, line)).map(|fault| (6, fault)));
    faults
}

/// `NAME SIGNAL CODE PID WHO`: what a bystander got, if it was not to get it.
fn stray_signal(plan: &Plan, hit: &str) -> Option<String> {
    let words: Vec<&str> = hit.split(' ').collect();
    let [signal, code] = [1, 2].map(|i| words[i].parse::<i32>().expect("a number"));
    let has_terminal = plan.terminal != "none";
    // The terminal's own, to who is in front, or wanted to read behind it.
    let by_terminal = has_terminal && code == SI_KERNEL && ["script", "parent"].contains(&words[0]);
    // The shell continues all of its job. If a member of the group is in a PID namespace below, the kernel tells the members
    // behind it that pid 0 sent the signal.
    let by_shell = words[0] == "script" && (words[4] == "world" || words[3] == "0") && signal == SIGCONT;
    // And foster passes on to its group what the terminal would have sent to it as well: in front SIGINT and SIGQUIT, and
    // behind it what stops a reader.
    let is_fosters = words[4] == "foster" || words[3] == "0";
    let passes_on = words[0] == "script" && is_fosters && has_terminal && !plan.is_pid1 && !plan.is_other_user;
    let ends = plan.terminal == "foreground" && [SIGINT, SIGQUIT].contains(&signal);
    let by_foster = passes_on && (STOPS.contains(&signal) || ends);
    (!by_terminal && !by_shell && !by_foster).then(|| format!("a bystander got a signal: {hit}"))
}

fn missed_deadline(plan: &Plan, report: &Report) -> Option<String> {
    let [_, command_end, _, end] = report.times();
    let hangs = report.one("end") == "hangs";
    if !plan.is_native() {
        // It has no deadline, but it ends with its command.
        return (hangs && command_end >= 0).then(|| format!("alive, and its command ended at {command_end} ms"));
    }
    let limit = deadline(plan, report)?;
    // What foster waited for a processor is the machine's doing.
    let waited: i64 = report.one("waited").parse().unwrap_or(0);
    let is_late = if hangs { true } else { end > limit + SLACK as i64 + waited };
    is_late.then(|| {
        format!("due at {limit} ms, ended at {end} ms (-1: never), after {waited} ms of waiting for a processor")
    })
}

/// When foster has to have ended, in milliseconds; none if nothing says so.
fn deadline(plan: &Plan, report: &Report) -> Option<i64> {
    let [_, command_end, stop, _] = report.times();
    let limit = [
        plan.grace.filter(|_| stop >= 0).map(|grace| stop + (plan.delay + grace) as i64),
        (command_end >= 0 && !plan.waits).then(|| command_end + plan.grace.unwrap_or(LEFTOVERS) as i64),
    ];
    // Without a grace a stop request is the platform's to limit, be it the test's or one that a hostile process has sent.
    if plan.grace.is_none() && report.all("stderr").any(|line| line.contains("and no --grace limits that")) {
        return None;
    }
    limit.into_iter().flatten().min()
}

/// How many milliseconds after its deadline foster ended, if it did.
fn lateness(plan: &Plan, report: &Report) -> Option<i64> {
    let [.., end] = report.times();
    let late = end - deadline(plan, report).filter(|_| plan.is_native() && end >= 0)?;
    (late > 0).then_some(late)
}

/// Compares with what the kernel says of how the command ended.
fn wrong_status(plan: &Plan, report: &Report) -> Option<String> {
    let (end, command) = (report.one("end"), report.one("command"));
    if end == "hangs" {
        return None;
    }
    if command == "unknown" {
        return knows_ends().then(|| format!("foster {end} while the command lives"));
    }
    let (how, number) = command.split_once(' ').expect("exited N or killed N");
    let number: i32 = number.parse().expect("a number");
    let code = if how == "exited" { number } else { 128 + number };
    let expected = match how == "killed" && !plan.is_pid1 && plan.is_native() {
        true => format!("killed {number}"),
        false => format!("exited {code}"),
    };
    let is_ok = match plan.ok_exit {
        Some("42") if code == 42 => end == "exited 0",
        // Which signals were forwarded as a stop is not known here.
        Some("stop") => end == "exited 0" || end == expected,
        // As any init that makes a code of it.
        Some(_) => end == expected || end == format!("exited {code}"),
        None => end == expected,
    };
    (!is_ok).then(|| format!("foster {end}, the command {command}"))
}

/// Whether the kernel says how a process ended to others than its parent (Linux 6.15).
fn knows_ends() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc");
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 15)
}

fn left_behind(plan: &Plan, report: &Report) -> Vec<String> {
    let strays = report.all("stray").filter(|_| plan.is_subreaper());
    let strays = strays.map(|pid| format!("an orphan went past foster: {pid}"));
    let left = report.all("left").filter(|_| plan.is_native()).count();
    strays.chain((left > 0).then(|| format!("{left} are alive, the first {}", report.one("left")))).collect()
}

/// A line that states who sent a signal which was forged, or that is no line of foster's.
fn untrue(plan: &Plan, report: &Report, line: &str) -> Option<String> {
    let is_json = plan.options.iter().any(|option| option == "json");
    let is_fosters = match is_json {
        true => serde_json::from_str::<serde_json::Value>(line).is_ok(),
        false => line.starts_with("foster[") || line.starts_with(&format!("{}[", plan.name)),
    };
    let states_forged = (7..=15).any(|n| line.contains(&format!("SIGRTMIN+{n} from ")));
    // The pid of nobody, which forgeries alone have.
    let states = states_forged || line.contains("pid 29999");
    let fault = match () {
        () if !plan.is_native() && line.starts_with('[') => None,
        () if !is_fosters || line.starts_with("INJECTED") || line.contains('\u{1b}') => Some("not a line of foster's"),
        // The world itself is in the same namespace then, and nobody outside sends anything.
        // But for what the kernel says of the shell's SIGCONT to foster's group, if one of that is in a PID namespace below.
        () if line.contains("SIGCONT from outside") && report.all("trace").any(|act| act.ends_with("nest: 0")) => None,
        () if !plan.is_pid1 && line.contains("from outside this PID namespace") => Some("nobody outside sent anything"),
        () if states && !line.contains("claim") => Some("a forged sender is stated as a fact"),
        () => None,
    };
    fault.map(|fault| format!("{fault}: {line}"))
}

/// Whether a world can have users of its own, besides its root.
fn has_users() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").expect("/proc");
    runs_as_root() && map.contains("4294967295")
}

/// The programs where every user can run them, foster by each of its names.
fn programs(binary: &Path) -> Scratch {
    let scratch = Scratch::new("hostile");
    for name in ["foster", "tini", "dumb-init", "catatonit"] {
        scratch.file(name, &std::fs::read(binary).unwrap(), "755");
    }
    scratch.file("hostile", &std::fs::read(example("hostile")).unwrap(), "755");
    std::fs::create_dir(scratch.path("disk")).unwrap();
    scratch
}

/// What one seed shows of one binary: nothing, or a text about what was wrong.
fn try_seed(seed: u64, scratch: &Scratch) -> (Plan, Report, Vec<Fault>) {
    let log = scratch.path("disk/logs/log");
    let plan = Plan::new(seed, has_users(), log.to_str().expect("a path"));
    let report = plan.run(&scratch.path(plan.name), scratch);
    let mut faults = judge(&plan, &report);
    if !plan.is_native() && !faults.is_empty() {
        let theirs = peer_faults(&plan, scratch);
        faults.retain(|(promise, _)| *promise == 0 || !theirs.contains(promise));
    }
    (plan, report, faults)
}

/// Which promises the init itself breaks with the same seed. Three times, since a seed decides what is done, and not which
/// of two processes is the first.
fn peer_faults(plan: &Plan, scratch: &Scratch) -> BTreeSet<u32> {
    let peer = PathBuf::from("/usr/bin").join(plan.name);
    if !peer.exists() {
        return (1..=6).collect();
    }
    (0..3).flat_map(|_| judge(plan, &plan.run(&peer, scratch))).map(|(promise, _)| promise).collect()
}

fn describe(plan: &Plan, report: &Report, faults: &[Fault]) -> String {
    let mut text = format!("TEST_SEED={}: {plan:?}\n", plan.seed);
    for (promise, fault) in faults {
        writeln!(text, "    promise {promise}: {fault}").unwrap();
    }
    report.0.iter().for_each(|line| writeln!(text, "        {line}").unwrap());
    text
}

/// Past what cargo test keeps to itself of a test that passes.
fn tell(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// What a hunt has seen.
struct Hunt {
    tried: u64,
    found: Vec<String>,
    /// How late the latest end was that came after its deadline, in milliseconds, and the seed.
    latest: (i64, u64),
}

/// Runs seeds, several at a time, as long as there is to be another. `seed` tells the seed of a run by the run's number.
fn hunt(scratch: &Scratch, seed: impl Fn(u64) -> u64 + Sync, goes_on: impl Fn(u64) -> bool + Sync) -> Hunt {
    let (next, found, latest) = (AtomicU64::new(0), Mutex::new(Vec::new()), Mutex::new((0, 0)));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while found.lock().expect("not poisoned").len() < ENOUGH {
                    let count = next.fetch_add(1, Ordering::Relaxed);
                    if !goes_on(count) {
                        break;
                    }
                    let (plan, report, faults) = try_seed(seed(count), scratch);
                    let late = (lateness(&plan, &report).unwrap_or(0), plan.seed);
                    let mut latest = latest.lock().expect("not poisoned");
                    *latest = late.max(*latest);
                    drop(latest);
                    if !faults.is_empty() {
                        let mut found = found.lock().expect("not poisoned");
                        let told = if found.len() < TOLD_WHOLLY { &report } else { &Report(Vec::new()) };
                        found.push(describe(&plan, told, &faults));
                    }
                }
            });
        }
    });
    let tried = next.into_inner().saturating_sub(AT_A_TIME as u64);
    let (found, latest) = (found.into_inner().expect("not poisoned"), latest.into_inner().expect("not poisoned"));
    Hunt { tried, found, latest }
}

#[test]
fn whatever_a_hostile_command_does_the_promises_are_kept() {
    let _alone = with_all_processors();
    if !namespaces() {
        return;
    }
    if !knows_ends() {
        skipped("the kernel is older than Linux 6.15, so nobody but foster knows how a hostile command ended");
    }
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    for binary in binaries() {
        let scratch = programs(&binary);
        let start = Instant::now();
        let (seed, seconds) = (number("TEST_SEED"), number("TEST_SECONDS").map(Duration::from_secs));
        if let (Some(seed), None) = (seed, seconds) {
            let (plan, report, faults) = try_seed(seed, &scratch);
            tell(&describe(&plan, &report, &faults));
            assert!(faults.is_empty(), "{}: seed {seed}: {faults:?}", binary.display());
            continue;
        }
        let Hunt { tried, found, latest: (late, of) } = match (seed, seconds) {
            (Some(seed), Some(time)) => hunt(&scratch, |_| seed, |_| start.elapsed() < time),
            (None, Some(time)) => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
                let first = now.as_secs() * 1000;
                hunt(&scratch, |count| first + count, |_| start.elapsed() < time)
            }
            _ => hunt(&scratch, |count| 1 + count, |count| count < SEEDS),
        };
        let took = start.elapsed();
        tell(&format!(
            "{}: {tried} seeds in {took:?}; the latest end was {late} ms late, of seed {of}",
            binary.display()
        ));
        assert!(found.is_empty(), "{}: of {tried} seeds:\n{}", binary.display(), found.join("\n"));
    }
}
