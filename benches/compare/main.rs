//! Measures foster beside its peers and prints a Markdown table; JSON and the growth curves go into files.
//!
//!     compare [--quick] [--json FILE] [--svg FILE] --fixture PROGRAM NAME=PROGRAM...
//!
//! Names that begin with `foster` are foster's builds, the first of them the one that has to keep its budgets; the
//! others are peers. Everything runs in PID namespaces that end with this program. It fails when an init loses a signal
//! or leaves a zombie in foster's place, and when it would not notice that: two stubs are measured along.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects, clippy::print_stdout, clippy::print_stderr)]

mod growth;
mod measure;
#[path = "../../tests/suite/page_cache.rs"]
mod page_cache;
mod run;
mod stubs;
mod table;
#[path = "../../tests/suite/tracer.rs"]
mod tracer;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use measure::Bench;
use run::{CpuCgroup, Place, Subject};
use table::Row;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some((name, command)) = args.split_first()
        && let Some(code) = stubs::run(name, command)
    {
        return code;
    }
    // Whatever a broken init leaves ends with this program.
    if std::process::id() != 1 {
        let own = std::env::current_exe().expect("the program's path");
        let unshare = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child", "--"];
        panic!("unshare: {}", Command::new("unshare").args(unshare).arg(own).args(args).exec());
    }
    let options = Options::parse(&args);
    let cgroup = CpuCgroup::join();
    if let Err(error) = &cgroup {
        eprintln!("no cgroup of the CPU's, so times are as outside of a container: {error}");
    }
    if let Err(error) = run::see_the_own_cgroup_alone() {
        eprintln!("the cgroups are seen as outside of a container: {error}");
    }
    let bench = Bench { fixture: options.fixture.clone(), scratch: std::env::temp_dir() };
    let caught = stubs_are_caught(&bench);
    let rows = compare(&bench, &options);
    println!("{}", table::markdown(&rows, &options.subjects));
    let correct = rows.iter().filter(|row| row.is_correctness()).all(|row| row.values[0] == Some(0.0));
    if !correct {
        eprintln!("FAILED: {} loses signals or leaves zombies", options.subjects[0].name);
    }
    if !caught || !correct {
        return ExitCode::FAILURE;
    }
    let curves = growth::measure(&bench, &options.subjects[0], if options.quick { 1000 } else { 10_000 });
    println!("{}", growth::markdown(&curves));
    if let Some(path) = &options.svg {
        std::fs::write(path, growth::svg(&curves)).expect("the SVG is written");
    }
    if let Some(path) = &options.json {
        std::fs::write(path, table::json(&rows, &options.subjects, &curves)).expect("the JSON is written");
    }
    ExitCode::SUCCESS
}

struct Options {
    quick: bool,
    json: Option<PathBuf>,
    svg: Option<PathBuf>,
    fixture: PathBuf,
    subjects: Vec<Subject>,
}

impl Options {
    fn parse(args: &[String]) -> Options {
        let mut options =
            Options { quick: false, json: None, svg: None, fixture: PathBuf::new(), subjects: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut file = || PathBuf::from(args.next().expect("a file"));
            match arg.as_str() {
                // What cargo bench adds.
                "--bench" => {}
                "--quick" => options.quick = true,
                "--json" => options.json = Some(file()),
                "--svg" => options.svg = Some(file()),
                "--fixture" => options.fixture = file(),
                subject => {
                    let (name, program) = subject.split_once('=').expect("NAME=PROGRAM");
                    let program = std::fs::canonicalize(program).unwrap_or_else(|e| panic!("{program}: {e}"));
                    options.subjects.push(Subject {
                        name: name.to_owned(),
                        words: vec![program],
                        is_peer: !name.starts_with("foster"),
                    });
                }
            }
        }
        options.fixture = std::fs::canonicalize(&options.fixture).expect("--fixture FILE");
        assert!(!options.subjects.is_empty(), "NAME=PROGRAM...");
        options
    }
}

/// Neither stub may pass for a working init.
fn stubs_are_caught(bench: &Bench) -> bool {
    let own = std::env::current_exe().expect("the program's path");
    let stub = |name: &str| Subject { name: name.to_owned(), words: vec![own.clone(), name.into()], is_peer: false };
    let reaper = stub(stubs::NEVER_FORWARDS);
    let forwarder = stub(stubs::NEVER_REAPS);
    let zombies = measure::orphans_left(bench, &forwarder, 10);
    let lost = measure::storm(bench, &reaper).map(|storm| storm.signals_lost);
    let caught = zombies.is_some_and(|zombies| zombies > 0.0) && lost.is_some_and(|lost| lost > 0.0);
    if !caught {
        eprintln!("FAILED: stubs are not caught: {zombies:?} zombies of 10, {lost:?} signals lost");
    }
    caught
}

/// Every row of the table. Counts are taken once, since they repeat; times in rounds, every init in each.
fn compare(bench: &Bench, options: &Options) -> Vec<Row> {
    let subjects: Vec<&Subject> = options.subjects.iter().collect();
    let each = |measure: &dyn Fn(&Subject) -> Option<f64>| subjects.iter().map(|subject| measure(subject)).collect();
    let peers: Vec<bool> = subjects.iter().map(|subject| subject.is_peer).collect();
    let rounds = if options.quick { 50 } else { 400 };
    subjects.iter().filter_map(|subject| subject.words.first()).for_each(|program| page_cache::drop_program(program));
    let times_on_one = run::on_one_core(|| times(bench, &subjects, rounds));
    let times = times(bench, &subjects, rounds);
    let span = Duration::from_secs(if options.quick { 2 } else { 10 });
    let idle = measure::idle(bench, &subjects, span);
    let held = |value: &dyn Fn(&measure::Idle) -> f64| idle.iter().map(|idle| idle.as_ref().map(value)).collect();
    let storms: Vec<_> = subjects.iter().map(|subject| measure::storm(bench, subject)).collect();
    let storm = |value: &dyn Fn(&measure::Storm) -> f64| storms.iter().map(|storm| storm.as_ref().map(value)).collect();
    let orphans = if options.quick { 1000 } else { 10_000 };
    let drain =
        |count: u64| each(&|subject| Some(measure::drain_calls(bench, subject, Place::Pid1, count)? / count as f64));
    let ratio = |times: &Vec<Option<f64>>| table::over_best_peer(times, &peers);
    vec![
        Row::new("size with its libraries, bytes", each(&measure::bytes)).budget(450_000.0, 100_000.0),
        Row::new("start-up over bare, on one core, µs", times_on_one.start.clone()),
        Row::new("… / that of the best peer", ratio(&times_on_one.start)).budget(0.35, 0.20).digits(2),
        Row::new("start-up over bare, on any, µs", times.start.clone()),
        Row::new("… / that of the best peer", ratio(&times.start)).digits(2),
        Row::new("user instructions until the fork", each(&|s| measure::start_instructions(bench, s)))
            .budget(16_000.0, 8_000.0),
        Row::new("system calls, its execve to the command's", each(&|s| measure::start_system_calls(bench, s)))
            .budget(18.0, 12.0),
        Row::new("Private_Dirty, KiB", held(&|idle| idle.private_dirty_kib)).budget(40.0, 28.0),
        Row::new("RSS, KiB", held(&|idle| idle.rss_kib)).budget(420.0, 250.0),
        Row::new(&format!("idle: context switches in {} s", span.as_secs()), held(&|idle| idle.switches))
            .budget(0.0, 0.0),
        Row::new("idle: threads", held(&|idle| idle.threads)).budget(1.0, 1.0),
        Row::new("idle: descriptors held", held(&|idle| idle.descriptors)).budget(4.0, 3.0),
        Row::new("system calls per orphan, 1,000 at once", drain(1000)).digits(4),
        Row::new("system calls per orphan, 5,000 at once", drain(if options.quick { 2000 } else { 5000 }))
            .budget(1.003, 1.003)
            .digits(4),
        Row::new("system calls, SIGTERM to exit", each(&|s| measure::stop_system_calls(bench, s))),
        Row::new("user instructions, SIGTERM to exit", each(&|s| measure::stop_instructions(bench, s))),
        Row::new("SIGTERM to exit over bare, on one core, µs", times_on_one.stop.clone()),
        Row::new("… / that of the best peer", ratio(&times_on_one.stop)).budget(0.6, 0.4).digits(2),
        Row::new("SIGTERM to exit over bare, on any, µs", times.stop.clone()),
        Row::new("… / that of the best peer", ratio(&times.stop)).digits(2),
        Row::new("a signal's way to the command, one core, µs", times_on_one.latency.clone()),
        Row::new("… / that of the best peer", ratio(&times_on_one.latency)).budget(1.2, 1.0).digits(2),
        Row::new("a signal's way to the command, any, µs", times.latency.clone()),
        Row::new("… / that of the best peer", ratio(&times.latency)).digits(2),
        Row::new(
            &format!("signals lost of {}, while orphans die", table::with_commas(measure::STORM_SIGNALS as f64)),
            storm(&|s| s.signals_lost),
        )
        .correctness(),
        Row::new(
            &format!("zombies left of {} orphans meanwhile", table::with_commas(measure::STORM_ORPHANS as f64)),
            storm(&|s| s.zombies),
        )
        .correctness(),
        Row::new(
            &format!("zombies left of {} orphans", table::with_commas(orphans as f64)),
            each(&|subject| measure::orphans_left(bench, subject, orphans)),
        )
        .correctness(),
    ]
}

/// Medians in microseconds.
struct Times {
    start: Vec<Option<f64>>,
    latency: Vec<Option<f64>>,
    stop: Vec<Option<f64>>,
}

/// Another order, the same ones in each run.
fn shuffle(order: &mut [usize], random: &mut u64) {
    for i in (1..order.len()).rev() {
        // Knuth's MMIX generator; its high bits are the better ones.
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(i, (*random >> 33) as usize % (i + 1));
    }
}

/// Start and stop are over bare: what the same command takes without an init, in the same round.
fn times(bench: &Bench, subjects: &[&Subject], rounds: usize) -> Times {
    let bare = Subject { name: "bare".to_owned(), words: Vec::new(), is_peer: false };
    let count = subjects.len();
    let (mut start, mut stop) = (vec![Vec::new(); count], vec![Vec::new(); count]);
    let mut order: Vec<usize> = (0..=count).collect();
    let mut random = 1;
    for _ in 0..rounds {
        // Each comes behind any other: what one leaves in the caches, and for the kernel to clear away, meets another each time.
        shuffle(&mut order, &mut random);
        let life = |which: usize| measure::life(bench, subjects.get(which).copied().unwrap_or(&bare));
        let mut lives: Vec<_> = order.iter().map(|which| (*which, life(*which))).collect();
        lives.sort_by_key(|(which, _)| *which);
        let Some((_, Some(without))) = lives.pop() else { continue };
        for (which, life) in lives {
            let Some(life) = life else { continue };
            start[which].push(life.start - without.start);
            stop[which].push(life.stop - without.stop);
        }
    }
    let medians = |all: Vec<Vec<f64>>| all.into_iter().map(table::median).collect();
    Times { start: medians(start), latency: latencies(bench, subjects, rounds), stop: medians(stop) }
}

/// The ways of signals to the commands of inits that have been there for a while, each in turn.
fn latencies(bench: &Bench, subjects: &[&Subject], rounds: usize) -> Vec<Option<f64>> {
    let mut inits: Vec<_> = subjects.iter().map(|s| s.start(Place::Pid1, &bench.fixture, &["ping"])).collect();
    let mut latencies = vec![Vec::new(); inits.len()];
    // pid1 forwards no other signals than SIGTERM and SIGINT.
    let mut order: Vec<usize> = (0..inits.len()).filter(|which| inits[*which].stamp().is_some()).collect();
    let mut random = 1;
    for round in 0..FORGOTTEN + rounds {
        shuffle(&mut order, &mut random);
        order.retain(|which| {
            let latency = measure::ping(&mut inits[*which]);
            latencies[*which].extend(latency.filter(|_| round >= FORGOTTEN));
            latency.is_some()
        });
    }
    latencies.into_iter().map(table::median).collect()
}

/// Signals after which the kernel has forgotten how long an init took to start. Before, whoever took longest hands the CPU
/// over earliest.
const FORGOTTEN: usize = 100;
