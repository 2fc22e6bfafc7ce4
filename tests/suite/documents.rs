//! What the documents say is what the sources say.

use std::collections::BTreeSet;
use std::path::Path;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

/// The words in quotes that follow one of these in a source text, without its tests.
fn words_after(source: &str, before: &[&str]) -> BTreeSet<String> {
    let source = source.split("#[cfg(test)]").next().unwrap();
    let after = before.iter().flat_map(|before| source.split(*before).skip(1));
    let word = after.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    let is_key = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    word.filter(is_key).map(str::to_owned).collect()
}

#[test]
fn every_json_key_and_event_is_explained() {
    let log = [read("src/report.rs"), read("src/output.rs")].concat();
    let members = [".text(", ".long_text(", ".plain(", ".seconds(", ".list("];
    let keys = words_after(&log, &members);
    // Events, and the values of sender and cause.
    let values = words_after(&log, &["=>", "Level::Error,", "Level::Warn,"]);
    assert!(keys.len() > 30 && values.len() > 25, "the sources have changed their looks: {keys:?} {values:?}");
    let diagnostics = read("docs/diagnostics.md");
    let check = read("docs/check.md");
    let probe = words_after(&read("src/check.rs"), &members);
    assert!(probe.len() > 10, "{probe:?}");
    for (words, document, name) in
        [(&keys, &diagnostics, "diagnostics"), (&values, &diagnostics, "diagnostics"), (&probe, &check, "check")]
    {
        // A level stands in the text, and what foster does itself is never said.
        let unexplained = |word: &&String| !document.contains(&format!("`{word}`"));
        let missing: Vec<&String> = words.iter().filter(unexplained).filter(|word| !is_level(word)).collect();
        assert_eq!(missing, Vec::<&String>::new(), "not in docs/{name}.md");
    }
}

fn is_level(word: &str) -> bool {
    ["error", "warning", "info", "debug", "trace", "foster"].contains(&word)
}
