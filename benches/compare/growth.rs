//! How foster's cost grows with the number of orphans and of leftovers, and the picture of it.

use crate::measure::{self, Bench};
use crate::run::{Place, Subject};
use crate::table::{median, with_commas};

/// One line of one panel.
pub struct Curve {
    pub panel: &'static str,
    pub place: &'static str,
    /// How many processes, and what they cost.
    pub points: Vec<(u64, f64)>,
}

const COUNTS: [u64; 7] = [10, 30, 100, 300, 1000, 3000, 10_000];
const PLACES: [(Place, &str); 2] = [(Place::Pid1, "as PID 1"), (Place::Child, "as subreaper")];

/// What each panel shows, up to how many processes, and how it is measured.
type Measure = fn(&Bench, &Subject, Place, u64) -> Option<f64>;
const PANELS: [(&str, u64, Measure); 4] = [
    ("reaping orphans: system calls", 10_000, measure::drain_calls),
    ("reaping orphans: CPU time, µs", 10_000, measure::drain_cpu),
    ("stopping leftovers: system calls", 4000, measure::stop_calls),
    ("stopping leftovers: time, µs", 4000, measure::stop_time),
];

pub fn measure(bench: &Bench, foster: &Subject, most: u64) -> Vec<Curve> {
    let mut curves = Vec::new();
    for (panel, limit, measure) in PANELS {
        // The last point is the limit itself.
        let limit = limit.min(most);
        let counts = || COUNTS.into_iter().filter(|count| *count < limit).chain([limit]);
        for (place, name) in PLACES {
            let points = counts().map(|count| {
                // Times vary, more so the short ones; thousands of processes are not made more often than need be.
                let runs = if count <= 1000 { 5 } else { 1 };
                let values = (0..runs).map(|_| measure(bench, foster, place, count).expect("it works"));
                (count, median(values.collect()).expect("a run"))
            });
            curves.push(Curve { panel, place: name, points: points.collect() });
        }
    }
    curves
}

pub fn markdown(curves: &[Curve]) -> String {
    let mut text = String::new();
    for panel in curves.chunk_by(|a, b| a.panel == b.panel) {
        let counts = panel[0].points.iter().map(|(count, _)| with_commas(*count as f64)).collect::<Vec<_>>();
        text += &format!("| {} | {} |\n|---|{}\n", panel[0].panel, counts.join(" | "), "--:|".repeat(counts.len()));
        for curve in panel {
            let values = curve.points.iter().map(|(_, value)| with_commas(*value)).collect::<Vec<_>>();
            text += &format!("| {} | {} |\n", curve.place, values.join(" | "));
        }
        text.push('\n');
    }
    text
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
    for (i, panel) in curves.chunk_by(|a, b| a.panel == b.panel).enumerate() {
        let (x, y) = ((i % 2) as f64 * WIDTH, (i / 2) as f64 * HEIGHT);
        text += &format!("<g transform=\"translate({x} {y})\">\n{}</g>\n", svg_panel(panel));
    }
    for (i, (_, name)) in PLACES.into_iter().enumerate() {
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
