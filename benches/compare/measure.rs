//! What is measured, one function each. `None`: it could not be, or the init failed at it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::run::{Launch, Place, Running, Subject, children, now, poll, queue, signal_one, zombies};
use crate::tracer::{self, Stop, Tracee, Until};

/// What the fixture is told, and this machine's.
pub struct Bench {
    pub fixture: PathBuf,
    /// A directory for what a run needs.
    pub scratch: PathBuf,
}

/// The size of a program and of every library that it loads.
pub fn bytes(subject: &Subject) -> Option<f64> {
    let program = subject.words.first()?;
    let listed = Command::new("ldd").arg(program).output().ok()?.stdout;
    let listed = String::from_utf8(listed).ok()?;
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    let files = [program.clone()].into_iter().chain(libraries);
    Some(files.filter_map(|file| std::fs::metadata(file).ok()).map(|file| file.len()).sum::<u64>() as f64)
}

/// Times in microseconds of one life: a start and a stop.
pub struct Life {
    /// From before the fork to the command's first instruction.
    pub start: f64,
    /// From SIGTERM to the init's being reaped.
    pub stop: f64,
}

pub fn life(bench: &Bench, subject: &Subject) -> Option<Life> {
    let begin = now();
    let mut running = subject.start(Place::Pid1, &bench.fixture, &["ping"]);
    let start = microseconds(running.stamp()? - begin);
    // Whoever has just been busy hands the CPU over earlier, and a stop does not follow upon the start.
    (0..WARM_UP).find(|_| ping(&mut running).is_none());
    pause();
    let asked = now();
    running.signal(libc::SIGTERM);
    running.wait().then(|| Life { start, stop: microseconds(now() - asked) })
}

const WARM_UP: usize = 10;

/// From before the fork to the end of an init whose command ends at once, as true(1) does, in microseconds.
pub fn life_of_true(bench: &Bench, subject: &Subject) -> Option<f64> {
    let launch = Launch::new(Place::Pid1, &bench.fixture, &["exit", "0"]);
    let begin = now();
    let mut running = subject.launch(&launch);
    running.wait().then(|| microseconds(now() - begin))
}

/// So that everybody is asleep again.
fn pause() {
    std::thread::sleep(Duration::from_millis(1));
}

/// From a signal to the command's having it; `None`: the init does not pass it on.
pub fn ping(running: &mut Running) -> Option<f64> {
    pause();
    let sent = now();
    running.signal(libc::SIGUSR1);
    running.stamp().map(|came| microseconds(came - sent))
}

fn microseconds(nanoseconds: i64) -> f64 {
    nanoseconds as f64 / 1000.0
}

/// Starts an init that is held before its exec until the file exists, so that it can be traced from there.
fn held(bench: &Bench, subject: &Subject, launch: &Launch) -> (Running, PathBuf) {
    let gate = bench.scratch.join("gate");
    let _ = std::fs::remove_file(&gate);
    let before = [bench.fixture.as_path(), Path::new("held"), gate.as_path()];
    let mut running = subject.launch(&launch.clone().after(&before));
    assert_eq!(running.line().as_deref(), Some("held"), "{}", subject.name);
    (running, gate)
}

/// System calls of a start.
pub struct StartCalls {
    /// After the init's execve, its command's included.
    pub to_the_exec: f64,
    /// From there until the init sleeps.
    pub until_asleep: Option<f64>,
}

pub fn start_system_calls(bench: &Bench, subject: &Subject, launch: &Launch) -> StartCalls {
    let (running, gate) = held(bench, subject, launch);
    let calls = tracer::system_calls_of_the_start(running.pid, || std::fs::write(gate, "").expect("written"));
    let until_asleep = calls.until_asleep.map(|calls| calls.len() as f64);
    StartCalls { to_the_exec: calls.to_the_exec.len() as f64, until_asleep }
}

/// User instructions from the init's execve to its fork.
pub fn start_instructions(bench: &Bench, subject: &Subject, launch: &Launch) -> Option<f64> {
    let (running, gate) = held(bench, subject, launch);
    let init = Tracee::seize(running.pid);
    std::fs::write(gate, "").ok()?;
    tracer::run_to_exec(&init);
    instructions(&init, true)
}

/// System calls of a program that runs no command, from its exec to its end.
pub fn system_calls_of_a_run(bench: &Bench, program: &Subject) -> f64 {
    let mut launch = Launch::new(Place::Child, &bench.fixture, &[]);
    launch.command.clear();
    let (mut running, gate) = held(bench, program, &launch);
    let calls = tracer::system_calls_of_a_run(running.pid, || std::fs::write(gate, "").expect("written"));
    running.wait();
    calls as f64
}

/// User instructions of an init from SIGTERM to its end.
pub fn stop_instructions(bench: &Bench, subject: &Subject) -> Option<f64> {
    let running = asleep(bench, subject)?;
    let init = Tracee::seize(running.pid);
    init.interrupt();
    running.signal(libc::SIGTERM);
    instructions(&init, false)
}

/// System calls of an init from SIGTERM to its end.
pub fn stop_system_calls(bench: &Bench, subject: &Subject) -> Option<f64> {
    let running = asleep(bench, subject)?;
    tracer::system_calls_until_asleep(running.pid, || running.signal(libc::SIGTERM)).map(|calls| calls as f64)
}

/// An init that has seen to its start. `None`: it does not sleep.
fn asleep(bench: &Bench, subject: &Subject) -> Option<Running> {
    let mut running = subject.start(Place::Pid1, &bench.fixture, &["ping"]);
    running.stamp()?;
    let mut slept = 0;
    // Who sleeps is found asleep each time; who only happens to wait for a moment is not.
    poll_briefly(|| {
        slept = if tracer::state(running.pid) == 'S' { slept + 1 } else { 0 };
        slept == 10
    });
    (slept == 10).then_some(running)
}

/// Counts instructions, one step each, until the init has a child or until its end: perf(1) has no counters in most virtual
/// machines.
fn instructions(init: &Tracee, until_child: bool) -> Option<f64> {
    let mut instructions = 0_u64;
    let mut last = 0;
    loop {
        match tracer::step(init, Until::Instruction) {
            Stop::Child(pid) => {
                tracer::let_go(pid);
                if until_child {
                    return Some(instructions as f64);
                }
            }
            Stop::Ended => return (!until_child).then_some(instructions as f64),
            _ => {}
        }
        // A repeated string instruction stops after each repetition and is one instruction all the same.
        let at = init.instruction_pointer();
        instructions += u64::from(at != last);
        last = at;
    }
}

/// What an init holds and does while nothing happens.
pub struct Idle {
    pub private_dirty_kib: f64,
    pub rss_kib: f64,
    pub switches: f64,
    /// Processor time meanwhile, in milliseconds.
    pub cpu_ms: f64,
    pub threads: f64,
    pub descriptors: f64,
}

/// All of them idle at the same time.
pub fn idle(bench: &Bench, subjects: &[Subject], span: Duration) -> Vec<Option<Idle>> {
    let start = |subject: &Subject| {
        let mut running = subject.start(Place::Pid1, &bench.fixture, &["wait-for-term"]);
        running.line().map(|_| running)
    };
    let all: Vec<_> = subjects.iter().map(start).collect();
    std::thread::sleep(Duration::from_millis(500));
    let switches = |running: &Running| {
        Some(
            field(running.pid, "status", "voluntary_ctxt_switches:")?
                + field(running.pid, "status", "nonvoluntary_ctxt_switches:")?,
        )
    };
    let both = |running: &Running| Some((switches(running)?, cpu_nanoseconds(running.pid)?));
    let before: Vec<_> = all.iter().map(|running| both(running.as_ref()?)).collect();
    std::thread::sleep(span);
    let look = |running: &Running, before: Option<(f64, f64)>| {
        let (switches_before, cpu_before) = before?;
        Some(Idle {
            switches: switches(running)? - switches_before,
            cpu_ms: (cpu_nanoseconds(running.pid)? - cpu_before) / 1e6,
            private_dirty_kib: field(running.pid, "smaps_rollup", "Private_Dirty:")?,
            rss_kib: field(running.pid, "smaps_rollup", "Rss:")?,
            threads: field(running.pid, "status", "Threads:")?,
            descriptors: std::fs::read_dir(format!("/proc/{}/fd", running.pid)).ok()?.count() as f64,
        })
    };
    all.iter().zip(before).map(|(running, before)| look(running.as_ref()?, before)).collect()
}

/// A number in a file of /proc/PID.
fn field(pid: i32, file: &str, name: &str) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// An init with so many orphans and children of its command, which has said that they are there.
fn gated(bench: &Bench, subject: &Subject, place: Place, orphans: u64, children: u64) -> Option<Running> {
    let (orphans, children) = (orphans.to_string(), children.to_string());
    let mut running = subject.launch(&Launch::new(place, &bench.fixture, &["gated", &orphans, &children]).with_proc());
    running.line().map(|_| running)
}

/// Lets the orphans die while nobody reaps, and waits until they are zombies.
fn kill_orphans(running: &Running, orphans: u64) {
    signal_one(running.command(), libc::SIGUSR1);
    assert!(poll(|| zombies(running.pid) as u64 == orphans), "every orphan of {} dies", running.pid);
}

/// System calls for reaping so many orphans that have died in one instant. Of an init that does not sleep, up to the last.
pub fn drain_calls(bench: &Bench, subject: &Subject, place: Place, orphans: u64, sleeps: bool) -> Option<f64> {
    let running = gated(bench, subject, place, orphans, 0)?;
    let happen = || kill_orphans(&running, orphans);
    let calls = match sleeps {
        true => tracer::system_calls_until_asleep(running.pid, happen),
        false => tracer::system_calls_until(running.pid, happen, || children(running.pid).len() == 1),
    };
    (zombies(running.pid) == 0).then_some(calls? as f64)
}

/// The init's own CPU time for that, in microseconds: it does not depend on what else the machine does.
pub fn drain_cpu(bench: &Bench, subject: &Subject, place: Place, orphans: u64) -> Option<f64> {
    let running = gated(bench, subject, place, orphans, 0)?;
    let init = Tracee::seize(running.pid);
    init.interrupt();
    kill_orphans(&running, orphans);
    let before = cpu_nanoseconds(running.pid)?;
    drop(init);
    let drained = poll(|| children(running.pid).len() == 1 && tracer::state(running.pid) == 'S');
    drained.then_some((cpu_nanoseconds(running.pid)? - before) / 1000.0)
}

fn cpu_nanoseconds(pid: i32) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    text.split(' ').next()?.parse().ok()
}

/// System calls for stopping so many leftovers: from the command's end to the init's.
pub fn stop_calls(bench: &Bench, subject: &Subject, place: Place, leftovers: u64) -> Option<f64> {
    let running = gated(bench, subject, place, 0, leftovers)?;
    let end_command = || signal_one(running.command(), libc::SIGUSR2);
    tracer::system_calls_until_asleep(running.pid, end_command).map(|calls| calls as f64)
}

/// System calls for stopping so many leftovers, of which each generation are the children of the one before: the command
/// has so many chains below it.
pub fn stop_generations_calls(subject: &Subject, place: Place, chains: u64, generations: u64) -> f64 {
    let own = std::env::current_exe().expect("the program's path");
    let words = [crate::stubs::CHAINS, &chains.to_string(), &generations.to_string()];
    let mut running = subject.launch(&Launch::new(place, &own, &words).with_proc());
    assert_eq!(running.line().as_deref(), Some("ready"));
    let end_command = || signal_one(running.command(), libc::SIGUSR2);
    tracer::system_calls_until_asleep(running.pid, end_command).expect("it sleeps") as f64
}

/// System calls for stopping ten leftovers, while so many processes are there that are not the init's.
pub fn stop_calls_among_strangers(bench: &Bench, subject: &Subject, place: Place, strangers: u64) -> f64 {
    let nobody = Subject { name: "strangers".to_owned(), words: Vec::new(), kind: crate::run::Kind::Helper };
    // The command of no init at all: its children are nobody's leftovers.
    let _others = gated(bench, &nobody, Place::Child, 0, strangers).expect("they start");
    stop_calls(bench, subject, place, 10).expect("it stops")
}

/// System calls of `foster --check` with so many zombies, of a parent that does not reap them.
pub fn check_calls(bench: &Bench, subject: &Subject, zombies: u64) -> f64 {
    let nobody = Subject { name: "zombies".to_owned(), words: Vec::new(), kind: crate::run::Kind::Helper };
    let mut runner = nobody.start(Place::Child, &bench.fixture, &["runner", &zombies.to_string()]);
    assert!(runner.line().is_some_and(|line| line.ends_with("ready")));
    let mut probe = subject.clone();
    probe.words.push("--check".into());
    system_calls_of_a_run(bench, &probe)
}

/// System calls of one look of `foster --watch`, with the wake-up before it, where the command does not wait for so many
/// zombies.
pub fn watch_calls(bench: &Bench, subject: &Subject, zombies: u64) -> f64 {
    let mut watching = subject.clone();
    watching.words.push("--watch=every=1s".into());
    let mut running = watching.start(Place::Child, &bench.fixture, &["runner", &zombies.to_string()]);
    assert!(running.line().is_some_and(|line| line.ends_with("ready")));
    // A look may be going on already. The next one is not due yet when foster sleeps, and foster is held until it is.
    tracer::system_calls_until_asleep(running.pid, || {}).expect("it sleeps");
    let until_due = || std::thread::sleep(Duration::from_millis(1100));
    let calls = tracer::system_calls_until_asleep(running.pid, until_due).expect("it sleeps") as f64;
    // Its command's zombies are foster's then, and gone before the next size is looked at.
    running.signal(libc::SIGTERM);
    running.wait();
    calls
}

/// The time for stopping so many leftovers, in microseconds, with the leftovers' own ends in it.
pub fn stop_time(bench: &Bench, subject: &Subject, place: Place, leftovers: u64) -> Option<f64> {
    let mut running = gated(bench, subject, place, 0, leftovers)?;
    let begin = now();
    signal_one(running.command(), libc::SIGUSR2);
    running.wait().then(|| microseconds(now() - begin))
}

/// What went wrong while signals of every kind came and orphans died.
pub struct Storm {
    pub signals_lost: f64,
    pub zombies: f64,
}

/// Real-time signals are queued, so each must come; of the others, each kind.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;
const OTHERS: [i32; 6] = [libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM, libc::SIGWINCH, libc::SIGIO];
pub const STORM_SIGNALS: usize = 31 * 40;
pub const STORM_ORPHANS: usize = 2000;

pub fn storm(bench: &Bench, subject: &Subject) -> Option<Storm> {
    let (orphans, expected) = (STORM_ORPHANS.to_string(), STORM_SIGNALS.to_string());
    let mut running = subject.start(Place::Pid1, &bench.fixture, &["storm", &orphans, &expected]);
    running.line()?;
    for i in 0..STORM_SIGNALS / 31 {
        REAL_TIME.for_each(|signal| queue(running.pid, signal));
        signal_one(running.pid, OTHERS[i % OTHERS.len()]);
        std::thread::sleep(Duration::from_millis(1));
    }
    let told = running.line()?;
    let ["came", came, "others", others, "made", _] = told.split(' ').collect::<Vec<_>>()[..] else { return None };
    let others = u64::from_str_radix(others, 16).ok()?;
    let others_lost = OTHERS.iter().filter(|signal| others & (1 << **signal) == 0).count();
    let signals_lost = STORM_SIGNALS as f64 - came.parse::<f64>().ok()? + others_lost as f64;
    poll_briefly(|| zombies(running.pid) == 0);
    Some(Storm { signals_lost, zombies: zombies(running.pid) as f64 })
}

/// Zombies that are left of so many orphans, which come and die in waves of a thousand at most.
pub fn orphans_left(bench: &Bench, subject: &Subject, count: u64) -> Option<f64> {
    let wave = count.min(1000);
    let (waves, wave) = ((count / wave).to_string(), wave.to_string());
    let mut running = subject.start(Place::Pid1, &bench.fixture, &["orphans", &wave, &waves, "apart"]);
    match running.line() {
        Some(told) => told.rsplit(' ').next()?.parse().ok(),
        // The fixture still waits for somebody to be reaped.
        None => Some(zombies(running.pid) as f64).filter(|left| *left > 0.0),
    }
}

/// For what an init that works has done long before.
fn poll_briefly(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() && start.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(2));
    }
}
