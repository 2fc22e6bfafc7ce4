//! Measures foster beside its peers and prints Markdown tables; JSON and the growth curves go into files.
//!
//!     compare [--quick] [--most N] [--json FILE] [--docs DIRECTORY] --fixture PROGRAM 'NAME=PROGRAM [OPTION...]'...
//!
//! Names that begin with `foster` are foster's builds, the first of them the one that has to keep its budgets; `floor` is
//! `benches/floor.c`; the others are peers. `--most`: at most so many processes at once, otherwise 2,000. `--docs`: puts the
//! tables and the picture into performance.md, fleet.md and growth.svg there.
//!
//! Everything runs in PID namespaces that end with this program. It fails when foster loses a signal or leaves a zombie, or
//! when one of its costs grows faster than the size of what it is given; and when it would not notice that, for which two
//! stubs and two curves are looked at along.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects, clippy::print_stdout, clippy::print_stderr)]

mod docs;
mod figure;
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

use figure::{Figure, with_commas};
use measure::Bench;
use run::{CpuCgroup, Kind, Launch, Place, Subject};
use table::{Row, Table};

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
    let bench = Bench { fixture: options.fixture.clone(), scratch: std::env::temp_dir() };
    figure::check_that_heaps_are_seen();
    growth::check_that_steepness_is_seen();
    let caught = stubs_are_caught(&bench);
    let machine = docs::machine();
    println!("{machine}\n");
    let tables = compare(&bench, &options);
    let foster = &options.subjects[0];
    let wrong = tables.iter().flat_map(|table| &table.rows).filter(|row| row.is_wrong()).count();
    if wrong > 0 {
        eprintln!("FAILED: {} loses signals or leaves zombies", foster.name);
    }
    if !caught || wrong > 0 {
        return ExitCode::FAILURE;
    }
    let curves = growth::measure(&bench, foster, if options.quick { options.most.min(300) } else { options.most });
    println!("{}", growth::markdown(&curves));
    if let Some(docs) = &options.docs {
        let page = docs.join("performance.md");
        let markdown = tables.iter().map(|table| table::markdown(table, &options.subjects)).collect::<Vec<_>>();
        docs::put(&page, "machine", &machine);
        docs::put(&page, "figures", &markdown.join("\n"));
        docs::put(&page, "growth", &growth::markdown(&curves));
        docs::put(&docs.join("fleet.md"), "fleet", &docs::fleet(&tables, &options.subjects));
        std::fs::write(docs.join("growth.svg"), growth::svg(&curves)).expect("the SVG is written");
    }
    if let Some(path) = &options.json {
        let members = [table::json(&tables, &options.subjects), growth::json(&curves)];
        std::fs::write(path, format!("{{\n{}\n}}\n", members.join(",\n"))).expect("the JSON is written");
    }
    let steep = growth::too_steep(&curves);
    steep.iter().for_each(|curve| eprintln!("FAILED: grows faster than its size: {curve}"));
    if steep.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Options {
    quick: bool,
    most: u64,
    json: Option<PathBuf>,
    docs: Option<PathBuf>,
    fixture: PathBuf,
    subjects: Vec<Subject>,
}

impl Options {
    fn parse(args: &[String]) -> Options {
        let (fixture, subjects) = (PathBuf::new(), Vec::new());
        let mut options = Options { quick: false, most: 2000, json: None, docs: None, fixture, subjects };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().unwrap_or_else(|| panic!("{arg}: a value is missing"));
            match arg.as_str() {
                // What cargo bench adds.
                "--bench" => {}
                "--quick" => options.quick = true,
                "--most" => options.most = value().parse().expect("--most NUMBER"),
                "--json" => options.json = Some(value().into()),
                "--docs" => options.docs = Some(value().into()),
                "--fixture" => options.fixture = value().into(),
                subject => options.subjects.push(subject_of(subject)),
            }
        }
        options.fixture = std::fs::canonicalize(&options.fixture).expect("--fixture FILE");
        assert!(!options.subjects.is_empty(), "NAME=PROGRAM...");
        options
    }
}

/// `NAME=PROGRAM [OPTION...]`.
fn subject_of(word: &str) -> Subject {
    let (name, command) = word.split_once('=').unwrap_or_else(|| panic!("{word}: NAME=PROGRAM is expected"));
    let mut words = command.split_whitespace().map(PathBuf::from).collect::<Vec<_>>();
    words[0] = std::fs::canonicalize(&words[0]).unwrap_or_else(|error| panic!("{command}: {error}"));
    let kind = match name {
        "floor" => Kind::Floor,
        _ if name.starts_with("foster") => Kind::Foster,
        _ => Kind::Peer,
    };
    Subject { name: name.to_owned(), words, kind }
}

/// Neither stub may pass for a working init.
fn stubs_are_caught(bench: &Bench) -> bool {
    let own = std::env::current_exe().expect("the program's path");
    let stub =
        |name: &str| Subject { name: name.to_owned(), words: vec![own.clone(), name.into()], kind: Kind::Helper };
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

/// Every table, each printed as soon as it is there. Counts are taken once, since they repeat; times in rounds, every init in
/// each.
fn compare(bench: &Bench, options: &Options) -> Vec<Table> {
    let subjects = &options.subjects;
    let rounds = if options.quick { 50 } else { 400 };
    subjects.iter().filter_map(|subject| subject.words.first()).for_each(|program| page_cache::drop_program(program));
    let span = Duration::from_secs(if options.quick { 2 } else { 10 });
    let idle = measure::idle(bench, subjects, span);
    // Beside one that never sleeps nobody's time means anything.
    let sleeps: Vec<bool> = idle
        .iter()
        .map(|idle| idle.as_ref().is_some_and(|idle| idle.cpu_ms < span.as_millis() as f64 / 10.0))
        .collect();
    let mut tables = Vec::new();
    let mut add = |table: Table| {
        println!("{}", table::markdown(&table, subjects));
        tables.push(table);
    };
    add(Table { name: "what it does".to_owned(), rows: counts(bench, options, &idle, &sleeps, span) });
    for view in ["the machine's cgroups in view", "its own cgroup alone in view, as in a container"] {
        if view.starts_with("its own")
            && let Err(error) = run::see_the_own_cgroup_alone()
        {
            eprintln!("no view of the own cgroup alone, so nothing is measured with it: {error}");
            continue;
        }
        add(Table { name: format!("what it costs, {view}"), rows: costs(bench, subjects) });
        let times_on_one = run::on_one_core(|| times(bench, subjects, &sleeps, rounds));
        add(Table { name: format!("µs on one processor, {view}"), rows: times_on_one.rows(subjects, &sleeps) });
        let times = times(bench, subjects, &sleeps, rounds);
        add(Table { name: format!("µs on any processor, {view}"), rows: times.rows(subjects, &sleeps) });
    }
    tables
}

/// What does not depend on what is seen of the cgroups.
fn counts(
    bench: &Bench,
    options: &Options,
    idle: &[Option<measure::Idle>],
    sleeps: &[bool],
    span: Duration,
) -> Vec<Row> {
    let subjects = &options.subjects;
    let each = |measure: &dyn Fn(&Subject) -> Option<f64>| subjects.iter().map(measure).collect::<Vec<_>>();
    let held = |value: &dyn Fn(&measure::Idle) -> f64| idle.iter().map(|idle| idle.as_ref().map(value)).collect();
    let storms: Vec<_> = subjects.iter().map(|subject| measure::storm(bench, subject)).collect();
    let storm = |value: &dyn Fn(&measure::Storm) -> f64| storms.iter().map(|storm| storm.as_ref().map(value)).collect();
    let orphans = if options.quick { 1000 } else { 10_000 };
    let drain = |count: u64| {
        let calls = subjects.iter().zip(sleeps).map(|(subject, sleeps)| {
            Some(measure::drain_calls(bench, subject, Place::Pid1, count, *sleeps)? / count as f64)
        });
        let name = format!("system calls per orphan, {} at once", with_commas(count as f64));
        Row::exact(&name, calls.collect()).digits(4)
    };
    let launch = Launch::new(Place::Pid1, &bench.fixture, &["ping"]);
    let many = options.most.min(if options.quick { 2000 } else { 5000 });
    let (signals, meanwhile) = (with_commas(measure::STORM_SIGNALS as f64), with_commas(measure::STORM_ORPHANS as f64));
    let seconds = span.as_secs();
    vec![
        Row::exact("size with its libraries, bytes", each(&measure::bytes)).must(255_000.0),
        Row::exact("user instructions until the fork", each(&|s| measure::start_instructions(bench, s, &launch))),
        Row::exact("system calls, SIGTERM to exit", each(&|s| measure::stop_system_calls(bench, s))),
        Row::exact("user instructions, SIGTERM to exit", each(&|s| measure::stop_instructions(bench, s))),
        Row::exact(&format!("idle: context switches in {seconds} s"), held(&|idle| idle.switches)).must(0.0),
        Row::exact(&format!("idle: processor time in {seconds} s, ms"), held(&|idle| idle.cpu_ms)).must(0.0),
        Row::exact("idle: threads", held(&|idle| idle.threads)).must(1.0),
        Row::exact("idle: descriptors held", held(&|idle| idle.descriptors)).must(3.0),
        drain(1000),
        drain(many).must(1.003),
        Row::exact(&format!("signals lost of {signals}, while orphans die"), storm(&|s| s.signals_lost)).correctness(),
        Row::exact(&format!("zombies left of {meanwhile} orphans meanwhile"), storm(&|s| s.zombies)).correctness(),
        Row::exact(
            &format!("zombies left of {} orphans", with_commas(orphans as f64)),
            each(&|subject| measure::orphans_left(bench, subject, orphans)),
        )
        .correctness(),
    ]
}

/// What depends on what is seen of the cgroups, and can be counted.
fn costs(bench: &Bench, subjects: &[Subject]) -> Vec<Row> {
    let launch = Launch::new(Place::Pid1, &bench.fixture, &["ping"]);
    let starts: Vec<_> = subjects.iter().map(|s| measure::start_system_calls(bench, s, &launch)).collect();
    // The kernel begins the stack anywhere within a page: now and then it takes one more.
    let idle: Vec<_> = (0..9).map(|_| measure::idle(bench, subjects, Duration::ZERO)).collect();
    let median = |value: &dyn Fn(&measure::Idle) -> f64| {
        let of = |which: usize| idle.iter().filter_map(|idle| idle[which].as_ref().map(value)).collect();
        (0..subjects.len()).map(|which| Figure::of(of(which)).map(|figure| figure.value)).collect()
    };
    vec![
        Row::exact(
            "system calls, its execve to the command's",
            starts.iter().map(|calls| Some(calls.to_the_exec)).collect(),
        )
        .must(12.0),
        Row::exact("system calls from there until it sleeps", starts.iter().map(|calls| calls.until_asleep).collect())
            .must(12.0),
        Row::exact("Private_Dirty, KiB", median(&|idle| idle.private_dirty_kib)).must(20.0),
        Row::exact("RSS, KiB", median(&|idle| idle.rss_kib)).must(240.0),
    ]
}

/// Times in microseconds, of every subject.
struct Times {
    start: Vec<Option<Figure>>,
    whole: Vec<Option<Figure>>,
    stop: Vec<Option<Figure>>,
    way: Vec<Option<Figure>>,
}

impl Times {
    /// Whoever never sleeps is no measure for the others: a signal need not wake it.
    fn rows(self, subjects: &[Subject], sleeps: &[bool]) -> Vec<Row> {
        let row = |name, figures, peer, floor| Row::new(name, figures).with_ratios(subjects, sleeps, peer, floor);
        [
            row("start, over bare", self.start, 0.25, Some(1.6)),
            row("start to the end of true, over bare", self.whole, 0.30, Some(2.0)),
            row("SIGTERM to exit, over bare", self.stop, 0.55, Some(1.5)),
            row("a signal's way to the command", self.way, 1.03, None),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Another order, the same ones in each run.
fn shuffle(order: &mut [usize], random: &mut u64) {
    for i in (1..order.len()).rev() {
        // Knuth's MMIX generator; its high bits are the better ones.
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(i, (*random >> 33) as usize % (i + 1));
    }
}

/// All but a signal's way are over bare: what the same command takes without an init, in the same round.
fn times(bench: &Bench, subjects: &[Subject], sleeps: &[bool], rounds: usize) -> Times {
    let over_bare = |measure: &dyn Fn(&Subject) -> Option<Vec<f64>>| differences(subjects, rounds, measure);
    let lives = over_bare(&|subject| measure::life(bench, subject).map(|life| vec![life.start, life.stop]));
    let whole = over_bare(&|subject| measure::life_of_true(bench, subject).map(|whole| vec![whole]));
    let column = |values: &[Vec<Vec<f64>>], which: usize| {
        values.iter().map(|of_one| Figure::of(of_one.iter().map(|values| values[which]).collect())).collect()
    };
    Times {
        start: column(&lives, 0),
        whole: column(&whole, 0),
        stop: column(&lives, 1),
        way: ways(bench, subjects, sleeps, rounds),
    }
}

/// What is measured of every subject in each round, less what the same is without an init in that round.
fn differences(
    subjects: &[Subject],
    rounds: usize,
    measure: &dyn Fn(&Subject) -> Option<Vec<f64>>,
) -> Vec<Vec<Vec<f64>>> {
    let bare = Subject { name: "bare".to_owned(), words: Vec::new(), kind: Kind::Helper };
    let mut over = vec![Vec::new(); subjects.len()];
    let mut order: Vec<usize> = (0..=subjects.len()).collect();
    let mut random = 1;
    for _ in 0..rounds {
        // Each comes behind any other: what one leaves in the caches, and for the kernel to clear away, meets another each time.
        shuffle(&mut order, &mut random);
        let one = |which: &usize| (*which, measure(subjects.get(*which).unwrap_or(&bare)));
        let mut values: Vec<_> = order.iter().map(one).collect();
        values.sort_by_key(|(which, _)| *which);
        let Some((_, Some(without))) = values.pop() else { continue };
        for (which, values) in values {
            let Some(values) = values else { continue };
            over[which].push(values.iter().zip(&without).map(|(value, without)| value - without).collect());
        }
    }
    over
}

/// The ways of signals to the commands of inits that have been there for a while, each in turn. Whoever never sleeps is
/// there alone.
fn ways(bench: &Bench, subjects: &[Subject], sleeps: &[bool], rounds: usize) -> Vec<Option<Figure>> {
    let mut ways = vec![Vec::new(); subjects.len()];
    let together: Vec<usize> = (0..subjects.len()).filter(|which| sleeps[*which]).collect();
    let alone = (0..subjects.len()).filter(|which| !sleeps[*which]).map(|which| vec![which]);
    for group in [together].into_iter().chain(alone) {
        let start = |which: &usize| (*which, subjects[*which].start(Place::Pid1, &bench.fixture, &["ping"]));
        // pid1 forwards no other signals than SIGTERM and SIGINT.
        let mut inits: Vec<_> =
            group.iter().map(start).filter_map(|(w, mut init)| init.stamp().map(|_| (w, init))).collect();
        let mut order: Vec<usize> = (0..inits.len()).collect();
        let mut random = 1;
        for round in 0..FORGOTTEN + rounds {
            shuffle(&mut order, &mut random);
            order.retain(|at| {
                let (which, init) = &mut inits[*at];
                let way = measure::ping(init);
                ways[*which].extend(way.filter(|_| round >= FORGOTTEN));
                way.is_some()
            });
        }
    }
    ways.into_iter().map(Figure::of).collect()
}

/// Signals after which the kernel has forgotten how long an init took to start. Before, whoever took longest hands the CPU
/// over earliest.
const FORGOTTEN: usize = 100;
