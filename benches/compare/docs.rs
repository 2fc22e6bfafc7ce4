//! The figures where the documents show them, so that a page never has those of two runs.

use std::path::Path;

use crate::figure::{Figure, with_commas};
use crate::run::{Kind, Subject};
use crate::table::{Row, Table};

/// Puts text into a document, between `<!-- bench: NAME -->` and `<!-- bench end -->`.
pub fn put(document: &Path, name: &str, text: &str) {
    let (begin, end) = (format!("<!-- bench: {name} -->\n"), "<!-- bench end -->");
    let old = std::fs::read_to_string(document).expect("the document");
    let (before, rest) = old.split_once(&begin).unwrap_or_else(|| panic!("{} has no {begin}", document.display()));
    let (_, after) = rest.split_once(end).unwrap_or_else(|| panic!("{} has no {end}", document.display()));
    std::fs::write(document, format!("{before}{begin}{}\n{end}{after}", text.trim_end())).expect("written");
}

/// Where and when a run was made.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let said = |program: &str, args: &[&str]| {
        let output = std::process::Command::new(program).args(args).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let cpu = read("/proc/cpuinfo");
    let cpu =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("", |(_, name)| name);
    let os = read("/etc/os-release");
    let os =
        os.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or_default().trim_matches('"').to_owned();
    let load = read("/proc/loadavg").split_whitespace().next().unwrap_or_default().to_owned();
    format!(
        "{}, {cpu}, {} processors, Linux {}, {}, {os}; load average at the start {load}.",
        said("date", &["+%Y-%m-%d"]),
        std::thread::available_parallelism().map_or(0, usize::from),
        said("uname", &["-r"]),
        said("rustc", &["--version"]).split(" (").next().unwrap_or_default(),
    )
}

/// One line of the fleet's second table: what it is called, the row of the first that it is computed from, by how much that is
/// multiplied, how many digits are shown, and the computation in words.
type Sum = (&'static str, usize, f64, &'static str);

/// One init a million times: the figures of one, and what they come to.
pub fn fleet(tables: &[Table], subjects: &[Subject]) -> String {
    let inits: Vec<usize> = (0..subjects.len()).filter(|at| *at == 0 || subjects[*at].kind == Kind::Peer).collect();
    let rows = [
        "Private_Dirty, KiB",
        "idle: context switches",
        "idle: processor time",
        "start, over bare",
        "user instructions until the fork",
        "system calls, its execve",
        "size with its libraries",
    ];
    let row = |name: &str| find(tables, name);
    let ones: Vec<&Row> = rows.iter().map(|name| row(name)).collect();
    let head = |title: &str, last: &str| {
        let names: Vec<_> = inits.iter().map(|at| subjects[*at].name.as_str()).collect();
        let lines = format!("|---|{}", "--:|".repeat(names.len()));
        format!("| {title} | {} |{last}\n{lines}{}\n", names.join(" | "), if last.is_empty() { "" } else { "---|" })
    };
    let value = |row: &Row, at: usize| row.figures[at].as_ref().map(|figure: &Figure| figure.value);
    let shown = |value: Option<f64>, digits: usize| match value {
        None => "—".to_owned(),
        Some(value) if digits == 0 => with_commas(value),
        Some(value) => format!("{value:.digits$}"),
    };
    let mut text = head("of one container", "");
    for row in &ones {
        let values: Vec<_> = inits.iter().map(|at| shown(value(row, *at), 0)).collect();
        text += &format!("| {} | {} |\n", row.name, values.join(" | "));
    }
    text += "\n";
    text += &head("of a million containers", " computed |");
    let seconds = ones[1].name.rsplit(' ').nth(1).and_then(|word| word.parse::<f64>().ok()).expect("in N s");
    let sums: [Sum; 7] = [
        ("memory, GiB", 0, 1e6 / 1_048_576.0, "KiB × 1,000,000 / 1,048,576"),
        ("wake-ups a second, all together", 1, 1e6 / seconds, "context switches / their seconds × 1,000,000"),
        ("processors that do nothing else", 2, 1e6 / seconds / 1000.0, "ms / 1,000 / their seconds × 1,000,000"),
        ("processor time to start all once, s", 3, 1.0, "µs × 1,000,000"),
        ("user instructions of that, thousand million", 4, 1e-3, "instructions × 1,000,000"),
        ("system calls to start all once, million", 5, 1.0, "calls × 1,000,000"),
        ("image bytes, if no two share a layer, GB", 6, 1e-3, "bytes × 1,000,000"),
    ];
    for (name, from, factor, computed) in sums {
        let values: Vec<_> =
            inits.iter().map(|at| shown(value(ones[from], *at).map(|value| value * factor), 0)).collect();
        text += &format!("| {name} | {} | {computed} |\n", values.join(" | "));
    }
    text
}

/// The last row of a name that begins so: that with the cgroups as a container sees them, where there are several. On one
/// processor, where there are both.
fn find<'a>(tables: &'a [Table], name: &str) -> &'a Row {
    let of_table = |table: &&Table| !table.name.contains("any processor");
    let mut rows =
        tables.iter().filter(of_table).flat_map(|table| &table.rows).filter(|row| row.name.starts_with(name));
    rows.next_back().unwrap_or_else(|| panic!("no row {name}"))
}
