//! The figures as Markdown and as JSON.

use crate::growth::Curve;
use crate::run::Subject;

/// One figure of every subject.
pub struct Row {
    pub name: String,
    pub values: Vec<Option<f64>>,
    /// What foster must reach, and what it tries for: at most so much.
    pub budget: Option<(f64, f64)>,
    digits: usize,
}

impl Row {
    pub fn new(name: &str, values: Vec<Option<f64>>) -> Row {
        Row { name: name.to_owned(), values, budget: None, digits: 0 }
    }

    pub fn budget(mut self, must: f64, try_for: f64) -> Row {
        self.budget = Some((must, try_for));
        self
    }

    pub fn digits(mut self, digits: usize) -> Row {
        self.digits = digits;
        self
    }

    /// Something that may not go wrong even once.
    pub fn correctness(self) -> Row {
        self.budget(0.0, 0.0)
    }

    pub fn is_correctness(&self) -> bool {
        self.name.starts_with("signals lost") || self.name.starts_with("zombies left")
    }

    fn shown(&self, value: Option<f64>) -> String {
        match value {
            None => "failed".to_owned(),
            Some(value) if self.digits == 0 => with_commas(value),
            Some(value) => format!("{value:.*}", self.digits),
        }
    }
}

/// The first subject's figure beside its budget.
fn verdict(row: &Row) -> &'static str {
    match (row.budget, row.values[0]) {
        (None, _) => "",
        (Some((_, try_for)), Some(value)) if value <= try_for => "reached",
        (Some((must, _)), Some(value)) if value <= must => "kept",
        _ => "**missed**",
    }
}

pub fn markdown(rows: &[Row], subjects: &[Subject]) -> String {
    let names = subjects.iter().map(|subject| subject.name.as_str()).collect::<Vec<_>>().join(" | ");
    let mut text = format!("| | {names} | must | try for | |\n|---|{}--:|--:|---|\n", "--:|".repeat(subjects.len()));
    for row in rows {
        let values = row.values.iter().map(|value| row.shown(*value)).collect::<Vec<_>>().join(" | ");
        let (must, try_for) = match row.budget {
            Some((must, try_for)) => (format!("≤ {}", short(must)), format!("≤ {}", short(try_for))),
            None => Default::default(),
        };
        text += &format!("| {} | {values} | {must} | {try_for} | {} |\n", row.name, verdict(row));
    }
    text
}

fn short(value: f64) -> String {
    if value.fract() == 0.0 { with_commas(value) } else { value.to_string() }
}

/// A whole number as people read it: `12,345`.
pub fn with_commas(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value <= -0.5 { format!("-{text}") } else { text }
}

pub fn json(rows: &[Row], subjects: &[Subject], curves: &[Curve]) -> String {
    let number = |value: Option<f64>| value.map_or("null".to_owned(), |value| format!("{value:.4}"));
    let row = |row: &Row| {
        let values = subjects.iter().zip(&row.values).map(|(s, value)| format!("{:?}: {}", s.name, number(*value)));
        let (must, try_for) = row.budget.unzip();
        format!(
            "    {:?}: {{{}, \"must\": {}, \"try for\": {}}}",
            row.name,
            values.collect::<Vec<_>>().join(", "),
            number(must),
            number(try_for)
        )
    };
    let curve = |curve: &Curve| {
        let points = curve.points.iter().map(|(count, value)| format!("[{count}, {value:.1}]"));
        format!("    \"{}, {}\": [{}]", curve.panel, curve.place, points.collect::<Vec<_>>().join(", "))
    };
    format!(
        "{{\n  \"figures\": {{\n{}\n  }},\n  \"growth\": {{\n{}\n  }}\n}}\n",
        rows.iter().map(row).collect::<Vec<_>>().join(",\n"),
        curves.iter().map(curve).collect::<Vec<_>>().join(",\n")
    )
}

pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Each figure over the smallest of a peer's.
pub fn over_best_peer(values: &[Option<f64>], peers: &[bool]) -> Vec<Option<f64>> {
    let of_peers = values.iter().zip(peers).filter(|(_, is_peer)| **is_peer).filter_map(|(value, _)| *value);
    let best = of_peers.min_by(f64::total_cmp);
    values.iter().map(|value| Some((*value)? / best?)).collect()
}
