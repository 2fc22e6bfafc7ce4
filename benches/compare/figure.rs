//! What was measured, as people read it: one number, or the median of many with how they spread.

/// One number, and how the values spread that it is the median of, if it is one.
#[derive(Clone, Debug)]
pub struct Figure {
    pub value: f64,
    pub spread: Option<Spread>,
}

/// How many measured values spread.
#[derive(Clone, Debug)]
pub struct Spread {
    /// A quarter of the values is below the first, a quarter above the second.
    pub quartiles: (f64, f64),
    /// The values come in two heaps with next to nothing between: then the median says nothing.
    pub modes: Option<[Mode; 2]>,
}

/// One of two heaps.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    pub median: f64,
    /// How many of all values are in it, from 0 to 1.
    pub share: f64,
}

impl Figure {
    pub fn exact(value: f64) -> Figure {
        Figure { value, spread: None }
    }

    /// `None`: nothing could be measured.
    pub fn of(mut values: Vec<f64>) -> Option<Figure> {
        values.sort_by(f64::total_cmp);
        let quartiles = (quantile(&values, 0.25)?, quantile(&values, 0.75)?);
        Some(Figure { value: quantile(&values, 0.5)?, spread: Some(Spread { quartiles, modes: modes(&values) }) })
    }

    /// `143 (138–151)`; with two heaps `two: 139 (64 %), 352 (36 %)`.
    pub fn shown(&self, digits: usize) -> String {
        let number = |value: f64| if digits == 0 { with_commas(value) } else { format!("{value:.digits$}") };
        match &self.spread {
            None => number(self.value),
            Some(Spread { modes: Some(modes), .. }) => {
                let [low, high] = modes.map(|mode| format!("{} ({:.0} %)", number(mode.median), mode.share * 100.0));
                format!("two: {low}, {high}")
            }
            Some(Spread { quartiles: (low, high), .. }) => {
                format!("{} ({}–{})", number(self.value), number(*low), number(*high))
            }
        }
    }
}

fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    sorted.get((sorted.len() as f64 * part) as usize).copied()
}

/// Fewer values than this in one heap are strays.
const SMALLEST_SHARE: f64 = 0.1;
/// Two heaps: their middles are so many times as far from each other as half of the values of the wider one spread. One heap
/// cut in its middle has 1.4 for random errors, 2 for values that are spread evenly.
const APART: f64 = 4.0;

/// Cuts the values where the sum of the squares within both parts is least, and says whether these are two heaps.
fn modes(sorted: &[f64]) -> Option<[Mode; 2]> {
    let count = sorted.len() as f64;
    let sum: f64 = sorted.iter().sum();
    let mut before = 0.0;
    // The least within is the most between.
    let between = sorted.iter().enumerate().skip(1).map(|(at, _)| {
        before += sorted[at - 1];
        let (low, high) = (at as f64, count - at as f64);
        let apart = before / low - (sum - before) / high;
        (at, low * high * apart * apart)
    });
    let (at, _) = between.max_by(|a, b| a.1.total_cmp(&b.1))?;
    let (low, high) = sorted.split_at(at);
    let mode = |part: &[f64]| Some(Mode { median: quantile(part, 0.5)?, share: part.len() as f64 / count });
    let width = |part: &[f64]| Some(quantile(part, 0.75)? - quantile(part, 0.25)?);
    let modes = [mode(low)?, mode(high)?];
    let wider = width(low)?.max(width(high)?);
    let is_two = modes.iter().all(|mode| mode.share >= SMALLEST_SHARE)
        && modes[1].median - modes[0].median >= APART * wider.max(f64::EPSILON);
    is_two.then_some(modes)
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

/// What the heaps are found by, tried on values that are known. Panics if it does not see what is there.
pub fn check_that_heaps_are_seen() {
    let one: Vec<f64> = (0..400).map(|i| 150.0 + f64::from((i * 7919) % 97) / 5.0).collect();
    let two: Vec<f64> =
        (0..400).map(|i| if i % 3 == 0 { 350.0 } else { 150.0 } + f64::from((i * 7919) % 97) / 5.0).collect();
    let [one, two] = [one, two].map(|values| Figure::of(values).and_then(|figure| figure.spread).expect("values"));
    assert!(one.modes.is_none(), "one heap is none of two: {one:?}");
    let [low, high] = two.modes.expect("two heaps");
    assert!(low.median < 180.0 && high.median > 340.0 && (0.3..0.37).contains(&high.share), "{low:?} {high:?}");
}
