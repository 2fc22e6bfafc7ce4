//! What `--watch` says while the command runs.

use std::fmt;

use log::Level;

use super::probe::Decimal;
use crate::check::{Parent, Verdict};
use crate::facts::{Turn, Watched};
use crate::output::Object;

/// At which level it is said.
pub fn level(turn: Turn) -> Level {
    match turn {
        Turn::Passed | Turn::Doubled => Level::Warn,
        Turn::Over => Level::Info,
    }
}

/// What the line is about, as JSON calls it.
pub fn event(watched: Watched) -> &'static str {
    match watched {
        Watched::Zombies => "watch_zombies",
        Watched::Pids => "watch_pids",
    }
}

/// The line's own fact; the rest is as with `--check`.
pub fn members(turn: Turn, object: &mut Object<'_>) {
    object.text(
        "turn",
        match turn {
            Turn::Passed => "passed",
            Turn::Doubled => "doubled",
            Turn::Over => "over",
        },
    );
}

/// The line.
pub fn line(watched: Watched, turn: Turn, verdict: &Verdict) -> impl fmt::Display {
    fmt::from_fn(move |f| match watched {
        Watched::Zombies => zombies(f, turn, verdict),
        Watched::Pids => pids(f, turn, verdict),
    })
}

fn zombies(f: &mut fmt::Formatter<'_>, turn: Turn, verdict: &Verdict) -> fmt::Result {
    f.write_str(match turn {
        Turn::Passed => "too many zombies",
        Turn::Doubled => "zombies have doubled",
        Turn::Over => "no longer too many zombies",
    })?;
    write!(f, ": {} (limit {})", verdict.zombies, verdict.limits.zombies)?;
    match verdict.parents.first() {
        Some(worst) if turn != Turn::Over => blame(f, worst),
        _ => Ok(()),
    }
}

/// Who has the most of them, and what to do about that.
fn blame(f: &mut fmt::Formatter<'_>, worst: &Parent) -> fmt::Result {
    match (worst.pid, worst.name) {
        (0, _) => f.write_str("; a process outside the container")?,
        (pid, Some(name)) => write!(f, "; pid {pid} ({name})")?,
        (pid, None) => write!(f, "; pid {pid}")?,
    }
    let (held, remedy) = match worst.pid {
        _ if worst.traces => ("traces", "end it, or let it detach"),
        1 => ("does not wait for", "run foster as pid 1"),
        _ => ("does not wait for", "fix or restart it"),
    };
    write!(f, " {held} {} of them: {remedy}", worst.zombies)
}

fn pids(f: &mut fmt::Formatter<'_>, turn: Turn, verdict: &Verdict) -> fmt::Result {
    f.write_str(match turn {
        Turn::Passed => "too few pids left",
        Turn::Doubled => "even fewer pids left",
        Turn::Over => "enough pids left again",
    })?;
    let percent = verdict.limits.pids_percent;
    match verdict.pids.and_then(|pids| Some((pids, pids.limit?, pids.permille()?))) {
        Some((pids, limit, permille)) => {
            let (used, source) = (pids.used, pids.source);
            write!(f, ": {used} of {limit} used, {}% (limit {percent}%, {source})", Decimal(permille))?;
        }
        None => write!(f, ": none is limited any more (limit {percent}%)")?,
    }
    match turn {
        Turn::Passed | Turn::Doubled => f.write_str("; threads, zombies count: stop some or raise it"),
        Turn::Over => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Use;
    use crate::check::tests::{parent, pids, verdict};

    fn said(watched: Watched, turn: Turn, verdict: &Verdict) -> String {
        line(watched, turn, verdict).to_string()
    }

    #[test]
    fn zombies_are_said_with_who_does_not_wait_for_them_and_what_to_do() {
        let two = verdict(&[parent(30, b"sh", 1), parent(12, b"run\nner", 1000)], &[], "zombies=100");
        for (turn, line) in [
            (
                Turn::Passed,
                "too many zombies: 1001 (limit 100); pid 12 (run\\nner) does not wait for 1000 of them: fix or restart it",
            ),
            (
                Turn::Doubled,
                "zombies have doubled: 1001 (limit 100); pid 12 (run\\nner) does not wait for 1000 of them: fix or restart it",
            ),
            (Turn::Over, "no longer too many zombies: 1001 (limit 100)"),
        ] {
            assert_eq!(said(Watched::Zombies, turn, &two), line);
        }
        let traced = Parent { traces: true, ..parent(9, b"gdb", 2) };
        for (who, end) in [
            (parent(9, b"", 2), "; pid 9 does not wait for 2 of them: fix or restart it"),
            (parent(1, b"app", 2), "; pid 1 (app) does not wait for 2 of them: run foster as pid 1"),
            (traced, "; pid 9 (gdb) traces 2 of them: end it, or let it detach"),
            (parent(0, b"", 2), "; a process outside the container does not wait for 2 of them: fix or restart it"),
        ] {
            let said = said(Watched::Zombies, Turn::Passed, &verdict(&[who], &[], "zombies=1"));
            assert_eq!(said, format!("too many zombies: 2 (limit 1){end}"));
        }
    }

    #[test]
    fn pids_are_said_with_their_limit_and_what_counts() {
        let full = verdict(&[], &[pids(95, Some(100))], "pids=90%");
        let figures = "95 of 100 used, 95.0% (limit 90%, kernel.pid_max)";
        let hint = "; threads, zombies count: stop some or raise it";
        assert_eq!(said(Watched::Pids, Turn::Passed, &full), format!("too few pids left: {figures}{hint}"));
        assert_eq!(said(Watched::Pids, Turn::Doubled, &full), format!("even fewer pids left: {figures}{hint}"));
        assert_eq!(said(Watched::Pids, Turn::Over, &full), format!("enough pids left again: {figures}"));
        let unlimited = verdict(&[], &[pids(95, None)], "pids=90%");
        assert_eq!(
            said(Watched::Pids, Turn::Over, &unlimited),
            "enough pids left again: none is limited any more (limit 90%)"
        );
    }

    #[test]
    fn every_line_is_short() {
        let many = 4_194_304;
        let threads = Use { source: "kernel.threads-max", ..pids(many, Some(many)) };
        let parents = [0, 1, 4_194_304].map(|pid| parent(pid, b"fifteen-letters", many));
        for parent in parents.into_iter().flat_map(|parent| [parent, Parent { traces: true, ..parent }]) {
            let verdict = verdict(&[parent], &[threads], "zombies=1000000,pids=99%");
            for turn in [Turn::Passed, Turn::Doubled, Turn::Over] {
                for watched in [Watched::Zombies, Watched::Pids] {
                    let line = said(watched, turn, &verdict);
                    // With what stands in front of it: `foster[4194304]: warning: `.
                    assert!(line.len() + 26 < 160, "{} characters: {line}", line.len());
                }
            }
        }
    }
}
