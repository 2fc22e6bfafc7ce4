//! How foster's cost grows with the size of what it is given, the check that none grows faster than its size, and the picture.

use std::ffi::CString;

use crate::figure::{Figure, with_commas};
use crate::measure::{self, Bench};
use crate::run::{Launch, Place, Subject, c_string};

/// One line of one panel.
pub struct Curve {
    panel: &'static str,
    line: &'static str,
    /// Sizes, and what they cost.
    points: Vec<(u64, f64)>,
    /// How much steeper than the size it may be: counts repeat, times do not.
    tolerance: f64,
}

/// What is measured at each size.
type Measure = fn(&Bench, &Subject, u64) -> f64;

/// One line: a panel, a name in it, and how it is measured.
struct Line(&'static str, &'static str, Kind, Measure);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Counts, of things that are no processes.
    Things,
    /// Counts, of so many processes at once.
    Processes,
    /// Counts of a stop, of so many processes at once: a wake-up may find one death or many.
    Stops,
    /// Times, with so many processes at once.
    Timed,
}

/// Those of a panel one after the other. In the picture are the first four panels.
const LINES: [Line; 21] = [
    Line("reaping orphans: system calls", PID1, Kind::Processes, |b, s, n| drain(b, s, Place::Pid1, n)),
    Line("reaping orphans: system calls", SUBREAPER, Kind::Processes, |b, s, n| drain(b, s, Place::Child, n)),
    Line("reaping orphans: CPU time, µs", PID1, Kind::Timed, |b, s, n| drain_cpu(b, s, Place::Pid1, n)),
    Line("reaping orphans: CPU time, µs", SUBREAPER, Kind::Timed, |b, s, n| drain_cpu(b, s, Place::Child, n)),
    Line("stopping leftovers: system calls", PID1, Kind::Stops, |b, s, n| stop(b, s, Place::Pid1, n)),
    Line("stopping leftovers: system calls", SUBREAPER, Kind::Stops, |b, s, n| stop(b, s, Place::Child, n)),
    Line("stopping leftovers: time, µs", PID1, Kind::Timed, |b, s, n| stop_time(b, s, Place::Pid1, n)),
    Line("stopping leftovers: time, µs", SUBREAPER, Kind::Timed, |b, s, n| stop_time(b, s, Place::Child, n)),
    Line(GENERATIONS, "1 generation, as PID 1", Kind::Stops, |_, s, n| generations(s, Place::Pid1, n, 1)),
    Line(GENERATIONS, "3 generations, as PID 1", Kind::Stops, |_, s, n| generations(s, Place::Pid1, n, 3)),
    Line(GENERATIONS, "10 generations, as PID 1", Kind::Stops, |_, s, n| generations(s, Place::Pid1, n, 10)),
    Line(GENERATIONS, "1 generation, as subreaper", Kind::Stops, |_, s, n| generations(s, Place::Child, n, 1)),
    Line(GENERATIONS, "3 generations, as subreaper", Kind::Stops, |_, s, n| generations(s, Place::Child, n, 3)),
    Line(GENERATIONS, "10 generations, as subreaper", Kind::Stops, |_, s, n| generations(s, Place::Child, n, 10)),
    Line("stopping 10 leftovers, by other processes: system calls", SUBREAPER, Kind::Stops, |b, s, n| {
        measure::stop_calls_among_strangers(b, s, Place::Child, n)
    }),
    Line("zombies: system calls", "--check", Kind::Processes, measure::check_calls),
    Line("zombies: system calls", "a look of --watch", Kind::Processes, measure::watch_calls),
    Line("starting, by entries of PATH before the right one", "system calls", Kind::Things, |b, s, n| {
        measure::start_system_calls(b, s, &searched(b, n)).to_the_exec
    }),
    Line("starting, by entries of PATH before the right one", "user instructions", Kind::Things, |b, s, n| {
        instructions(b, s, &searched(b, n))
    }),
    Line("starting: user instructions", "by variables", Kind::Things, |b, s, n| {
        let mut launch = ping(b);
        launch.environment.extend((0..n).map(|i| c_string(format!("VARIABLE_{i}=a value of some length"))));
        instructions(b, s, &launch)
    }),
    Line("starting: user instructions", "by arguments", Kind::Things, |b, s, n| {
        let mut launch = ping(b);
        launch.command.extend((0..n).map(|i| c_string(format!("argument-{i}-of-some-length"))));
        instructions(b, s, &launch)
    }),
];

const PID1: &str = "as PID 1";
const SUBREAPER: &str = "as subreaper";
const GENERATIONS: &str = "stopping leftovers by generations: system calls";

const SIZES: [u64; 7] = [10, 30, 100, 300, 1000, 3000, 10_000];
/// Each costs some hundred instructions, and each instruction is a step.
const MOST_THINGS: u64 = 1000;

/// With at most so many processes at once.
pub fn measure(bench: &Bench, foster: &Subject, most: u64) -> Vec<Curve> {
    let curve = |Line(panel, line, kind, measure): &Line| {
        let limit = if *kind == Kind::Things { MOST_THINGS } else { most };
        let sizes = SIZES.into_iter().filter(|size| *size < limit).chain([limit]);
        let points = sizes.map(|size| {
            // Times vary, more so the short ones; thousands of processes are not made more often than need be.
            let runs = if *kind == Kind::Timed && size <= 1000 { 5 } else { 1 };
            let values = (0..runs).map(|_| measure(bench, foster, size)).collect();
            (size, Figure::of(values).expect("a run").value)
        });
        let tolerance = match kind {
            Kind::Processes => 1.05,
            // When foster's own memory is full, the C library's allocator takes over, with more instructions each time.
            Kind::Things => 1.25,
            Kind::Stops | Kind::Timed => 2.0,
        };
        Curve { panel, line, points: points.collect(), tolerance }
    };
    LINES.iter().map(curve).collect()
}

fn drain(bench: &Bench, foster: &Subject, place: Place, orphans: u64) -> f64 {
    measure::drain_calls(bench, foster, place, orphans, true).expect("it reaps")
}

fn drain_cpu(bench: &Bench, foster: &Subject, place: Place, orphans: u64) -> f64 {
    measure::drain_cpu(bench, foster, place, orphans).expect("it reaps")
}

fn stop(bench: &Bench, foster: &Subject, place: Place, leftovers: u64) -> f64 {
    measure::stop_calls(bench, foster, place, leftovers).expect("it stops")
}

fn stop_time(bench: &Bench, foster: &Subject, place: Place, leftovers: u64) -> f64 {
    measure::stop_time(bench, foster, place, leftovers).expect("it stops")
}

fn generations(foster: &Subject, place: Place, leftovers: u64, generations: u64) -> f64 {
    measure::stop_generations_calls(foster, place, leftovers / generations, generations)
}

fn instructions(bench: &Bench, foster: &Subject, launch: &Launch) -> f64 {
    measure::start_instructions(bench, foster, launch).expect("it starts")
}

fn ping(bench: &Bench) -> Launch {
    Launch::new(Place::Pid1, &bench.fixture, &["ping"])
}

/// The command by its name alone, which is in the last of so many directories; the others do not exist.
fn searched(bench: &Bench, before: u64) -> Launch {
    let mut launch = ping(bench);
    let (directory, name) = (bench.fixture.parent().expect("a path"), bench.fixture.file_name().expect("a path"));
    let others = (0..before).map(|i| format!("/none/{i}:")).collect::<String>();
    let is_path = |entry: &CString| entry.as_bytes().starts_with(b"PATH=");
    launch.environment.retain(|entry| !is_path(entry));
    launch.environment.insert(0, c_string(format!("PATH={others}{}", directory.display())));
    launch.command[0] = c_string(name);
    launch
}

/// The curves that are steeper than their sizes: of which, at the end, a size that is so many times as large costs more than
/// so many times as much.
pub fn too_steep(curves: &[Curve]) -> Vec<String> {
    let steep = curves.iter().filter_map(|curve| {
        let [.., from, to] = curve.points[..] else { return None };
        let (size, cost) = (to.0 as f64 / from.0 as f64, to.1 / from.1);
        let told =
            || format!("{}, {}: {size:.1} times the size costs {cost:.1} times as much", curve.panel, curve.line);
        (cost > size * curve.tolerance).then(told)
    });
    steep.collect()
}

/// A curve that is too steep must be seen as that.
pub fn check_that_steepness_is_seen() {
    let curve = |cost: fn(f64) -> f64| Curve {
        panel: "check",
        line: "check",
        points: SIZES.map(|size| (size, cost(size as f64))).to_vec(),
        tolerance: 1.05,
    };
    assert!(too_steep(&[curve(|n| 30.0 + 20.0 * n), curve(|_| 12.0)]).is_empty(), "straight ones are not steep");
    assert_eq!(too_steep(&[curve(|n| 30.0 + 20.0 * n + n * n / 100.0), curve(|n| n * n.ln())]).len(), 2);
}

pub fn markdown(curves: &[Curve]) -> String {
    let mut text = String::new();
    for panel in curves.chunk_by(|a, b| a.panel == b.panel) {
        let sizes = panel[0].points.iter().map(|(size, _)| with_commas(*size as f64)).collect::<Vec<_>>();
        text += &format!("| {} | {} |\n|---|{}\n", panel[0].panel, sizes.join(" | "), "--:|".repeat(sizes.len()));
        for curve in panel {
            let values = curve.points.iter().map(|(_, value)| with_commas(*value)).collect::<Vec<_>>();
            text += &format!("| {} | {} |\n", curve.line, values.join(" | "));
        }
        text.push('\n');
    }
    text
}

/// A member of a JSON object.
pub fn json(curves: &[Curve]) -> String {
    let curve = |curve: &Curve| {
        let points = curve.points.iter().map(|(size, value)| format!("[{size}, {value:.1}]"));
        format!("    \"{}, {}\": [{}]", curve.panel, curve.line, points.collect::<Vec<_>>().join(", "))
    };
    format!("  \"growth\": {{\n{}\n  }}", curves.iter().map(curve).collect::<Vec<_>>().join(",\n"))
}

// The picture: two by two panels, both axes logarithmic, so that a cost per process that stays the same is a line of
// slope one, which is drawn dotted for comparison.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 45.0;
const TOP: f64 = 35.0;
const RIGHT: f64 = 30.0;
const COLOURS: [&str; 2] = ["#1f77b4", "#d95f02"];

pub fn svg(curves: &[Curve]) -> String {
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        WIDTH * 2.0,
        HEIGHT * 2.0 + 30.0
    );
    for (i, panel) in curves.chunk_by(|a, b| a.panel == b.panel).take(4).enumerate() {
        let (x, y) = ((i % 2) as f64 * WIDTH, (i / 2) as f64 * HEIGHT);
        text += &format!("<g transform=\"translate({x} {y})\">\n{}</g>\n", svg_panel(panel));
    }
    for (i, name) in [PID1, SUBREAPER].into_iter().enumerate() {
        let (x, y) = (LEFT + 150.0 * i as f64, HEIGHT * 2.0 + 14.0);
        text += &format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"4\" fill=\"{}\"/>", COLOURS[i]);
        text += &format!("<text x=\"{}\" y=\"{}\">{name}</text>\n", x + 10.0, y + 4.0);
    }
    let (x, y) = (LEFT + 300.0, HEIGHT * 2.0 + 14.0);
    text += &format!("<path d=\"M{x} {y}h24\" stroke=\"#999\" stroke-dasharray=\"2 3\"/>");
    text += &format!("<text x=\"{}\" y=\"{}\">the same cost for each</text>\n</svg>\n", x + 32.0, y + 4.0);
    text
}

fn svg_panel(panel: &[Curve]) -> String {
    let all = || panel.iter().flat_map(|curve| &curve.points);
    let (least, most) = (all().map(|p| p.1).fold(f64::MAX, f64::min), all().map(|p| p.1).fold(0.0, f64::max));
    let across =
        Axis { decades: decades(10.0, all().map(|p| p.0 as f64).fold(0.0, f64::max)), from: LEFT, to: WIDTH - RIGHT };
    let up = Axis { decades: decades(least, most), from: HEIGHT - BOTTOM, to: TOP };
    let mut text = format!("<text x=\"{LEFT}\" y=\"20\" font-weight=\"bold\">{}</text>\n", panel[0].panel);
    for (value, x) in across.ticks() {
        text += &format!("<path d=\"M{x:.1} {}V{}\" stroke=\"#ddd\"/>", up.from, up.to);
        text += &format!("<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{value}</text>\n", up.from + 18.0);
    }
    for (value, y) in up.ticks() {
        text += &format!("<path d=\"M{} {y:.1}H{}\" stroke=\"#ddd\"/>", across.from, across.to);
        text += &format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>\n", across.from - 6.0, y + 4.0);
    }
    let middle = (across.from + across.to) / 2.0;
    text += &format!("<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">processes</text>\n", up.from + 36.0);
    let last = panel[0].points.last().expect("points");
    let first = (panel[0].points[0].0 as f64, last.1 * panel[0].points[0].0 as f64 / last.0 as f64);
    let ends = [first, (last.0 as f64, last.1)].map(|(x, y)| format!("{:.1} {:.1}", across.at(x), up.at(y)));
    text += &format!("<path d=\"M{}\" stroke=\"#999\" stroke-dasharray=\"2 3\" fill=\"none\"/>\n", ends.join("L"));
    for (curve, colour) in panel.iter().zip(COLOURS) {
        let places = curve.points.iter().map(|(x, y)| (across.at(*x as f64), up.at(*y))).collect::<Vec<_>>();
        let line = places.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect::<Vec<_>>().join("L");
        text += &format!("<path d=\"M{line}\" stroke=\"{colour}\" stroke-width=\"2\" fill=\"none\"/>\n");
        for (x, y) in places {
            text += &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
    }
    text + "\n"
}

/// A logarithmic axis of whole decades, and where on the paper it begins and ends.
struct Axis {
    decades: (i32, i32),
    from: f64,
    to: f64,
}

fn decades(least: f64, most: f64) -> (i32, i32) {
    (least.log10().floor() as i32, most.log10().ceil() as i32)
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        let (first, last) = (f64::from(self.decades.0), f64::from(self.decades.1));
        let part = (value.log10().clamp(first, last) - first) / (last - first);
        self.from + part * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = (String, f64)> {
        (self.decades.0..=self.decades.1).map(|decade| {
            let value = 10_f64.powi(decade);
            (with_commas(value), self.at(value))
        })
    }
}
