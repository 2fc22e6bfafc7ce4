//! Figures of every subject, as Markdown tables and as JSON.

use crate::figure::{Figure, with_commas};
use crate::run::{Kind, Subject};

/// Rows that belong together.
pub struct Table {
    pub name: String,
    pub rows: Vec<Row>,
}

/// One figure of every subject. `None`: it could not be measured, or the init failed at it.
pub struct Row {
    pub name: String,
    pub figures: Vec<Option<Figure>>,
    /// What the first foster must reach: at most so much.
    must: Option<f64>,
    /// It may not go wrong even once: the bench fails if the first foster misses it.
    is_correctness: bool,
    digits: usize,
}

impl Row {
    pub fn new(name: &str, figures: Vec<Option<Figure>>) -> Row {
        Row { name: name.to_owned(), figures, must: None, is_correctness: false, digits: 0 }
    }

    /// Of exact numbers.
    pub fn exact(name: &str, values: Vec<Option<f64>>) -> Row {
        Row::new(name, values.into_iter().map(|value| value.map(Figure::exact)).collect())
    }

    pub fn must(mut self, most: f64) -> Row {
        self.must = Some(most);
        self
    }

    pub fn digits(mut self, digits: usize) -> Row {
        self.digits = digits;
        self
    }

    pub fn correctness(mut self) -> Row {
        self.must = Some(0.0);
        self.is_correctness = true;
        self
    }

    /// Whether the first foster failed at what may not go wrong.
    pub fn is_wrong(&self) -> bool {
        self.is_correctness && !self.is_reached()
    }

    fn is_reached(&self) -> bool {
        let value = self.figures.first().and_then(Option::as_ref).map(|figure| figure.value);
        self.must.is_none_or(|must| value.is_some_and(|value| value <= must))
    }

    /// This row, and below it what each is of the best of the peers that count, and of the floor, if there is one. What they
    /// must be is the first foster's.
    pub fn with_ratios(
        self,
        subjects: &[Subject],
        counts: &[bool],
        to_best_peer: f64,
        to_floor: Option<f64>,
    ) -> Vec<Row> {
        let all = || self.figures.iter().zip(subjects).zip(counts);
        let of = |kind: Kind| all().filter(move |((_, subject), counts)| subject.kind == kind && **counts);
        let least =
            |kind: Kind| of(kind).filter_map(|((figure, _), _)| Some(figure.as_ref()?.value)).min_by(f64::total_cmp);
        let ratios = |name: &str, least: Option<f64>| {
            let ratio = |figure: &Option<Figure>| Some(figure.as_ref()?.value / least?);
            Row::exact(name, self.figures.iter().map(ratio).collect()).digits(2)
        };
        let peers = ratios("… / that of the best peer", least(Kind::Peer)).must(to_best_peer);
        let floor = least(Kind::Floor).map(|least| ratios("… / that of the floor", Some(least)));
        let floor = floor.map(|row| if let Some(most) = to_floor { row.must(most) } else { row });
        [Some(self), Some(peers), floor].into_iter().flatten().collect()
    }
}

pub fn markdown(table: &Table, subjects: &[Subject]) -> String {
    let names = subjects.iter().map(|subject| subject.name.as_str()).collect::<Vec<_>>().join(" | ");
    let mut text = format!("| {} | {names} | must | |\n|---|{}--:|---|\n", table.name, "--:|".repeat(subjects.len()));
    for row in &table.rows {
        let shown =
            |figure: &Option<Figure>| figure.as_ref().map_or("—".to_owned(), |figure| figure.shown(row.digits));
        let figures = row.figures.iter().map(shown).collect::<Vec<_>>().join(" | ");
        let (must, verdict) = match row.must {
            None => Default::default(),
            Some(most) => (format!("≤ {}", short(most)), if row.is_reached() { "reached" } else { "**missed**" }),
        };
        text += &format!("| {} | {figures} | {must} | {verdict} |\n", row.name);
    }
    text
}

fn short(value: f64) -> String {
    if value.fract() == 0.0 { with_commas(value) } else { value.to_string() }
}

/// The members of a JSON object: each table by its name.
pub fn json(tables: &[Table], subjects: &[Subject]) -> String {
    let row = |row: &Row| {
        let figures =
            subjects.iter().zip(&row.figures).map(|(s, figure)| format!("{:?}: {}", s.name, json_figure(figure)));
        let figures = figures.collect::<Vec<_>>().join(", ");
        let must = row.must.map_or("null".to_owned(), |must| must.to_string());
        format!("      {:?}: {{{figures}, \"must\": {must}}}", row.name)
    };
    let table = |table: &Table| {
        // A ratio's name says nothing without the row that it is of.
        let mut last = String::new();
        let named = table.rows.iter().map(|one| match one.name.strip_prefix("… ") {
            Some(rest) => row(&Row { name: format!("{last} {rest}"), figures: one.figures.clone(), ..*one }),
            None => {
                last.clone_from(&one.name);
                row(one)
            }
        });
        format!("    {:?}: {{\n{}\n    }}", table.name, named.collect::<Vec<_>>().join(",\n"))
    };
    format!("  \"figures\": {{\n{}\n  }}", tables.iter().map(table).collect::<Vec<_>>().join(",\n"))
}

fn json_figure(figure: &Option<Figure>) -> String {
    let Some(figure) = figure else { return "null".to_owned() };
    let Some(spread) = &figure.spread else { return format!("{:.4}", figure.value) };
    let (low, high) = spread.quartiles;
    let modes = spread.modes.iter().flatten().map(|mode| format!("[{:.2}, {:.2}]", mode.median, mode.share));
    let modes = modes.collect::<Vec<_>>().join(", ");
    format!("{{\"median\": {:.2}, \"quartiles\": [{low:.2}, {high:.2}], \"modes\": [{modes}]}}", figure.value)
}
