//! The words for ends: of the command, of an orphan, of foster.

use std::fmt::{self, Formatter};

use super::words::{Span, Words};
use crate::exit::{Death, Outcome};
use crate::facts::{Cause, CommandEnd, OomKills, Orphan, Reaped, Summary};
use crate::signal::Signal;
use crate::text::Short;

/// Who ended the command and whether that is an incident; how it ended, and the reason; figures.
pub fn command(f: &mut Formatter<'_>, end: &CommandEnd, words: &Words<'_>) -> fmt::Result {
    let is_for_memory = is_for_want_of_memory(end);
    if is_for_memory {
        want_of_memory(f, end.oom_kills)?;
    } else {
        write_who(f, end, words)?;
    }
    let how = fmt::from_fn(|f| match end.death {
        Some(death) => write!(f, "{}{death:#}", if matches!(death, Death::Killed { .. }) { "was " } else { "" }),
        None => f.write_str("did not end, not even by SIGKILL"),
    });
    write!(f, "command {} {how}", words.command())?;
    match end.cause {
        Cause::StopRequest { took, .. } if end.death.is_some() => write!(f, " after {}", Span(took))?,
        Cause::Forwarded => f.write_str(", which foster forwarded")?,
        // The first words have said who did.
        Cause::Incident if matches!(end.oom_kills, OomKills::Rose(1..)) => {}
        Cause::Incident => f.write_str(", which foster did not send")?,
        Cause::StopRequest { .. } | Cause::Unasked | Cause::Terminal => {}
    }
    f.write_str("; ")?;
    if let Some(core) = end.death.and_then(Death::core) {
        write!(f, "{core}, ")?;
    }
    write!(f, "ran {}", Span(end.ran))?;
    // Beside a sender there is no room for it, and the line of the start has it.
    if !matches!(end.cause, Cause::StopRequest { .. }) {
        write!(f, ", pid {}", end.pid)?;
    }
    match end.oom_kills {
        OomKills::Rose(count @ 1..) if !is_for_memory => write!(f, ", oom_kill rose by {count}"),
        _ => Ok(()),
    }
}

/// Whether memory is the first thing to be said. If foster had it killed, it is not.
fn is_for_want_of_memory(end: &CommandEnd) -> bool {
    end.oom_kills != OomKills::NONE && matches!(end.cause, Cause::Unasked | Cause::Incident)
}

/// A fact and not a verdict: another process of the cgroup may be the one that the OOM killer took.
fn want_of_memory(f: &mut Formatter<'_>, oom_kills: OomKills) -> fmt::Result {
    match oom_kills {
        OomKills::NONE => Ok(()),
        OomKills::Rose(count) => write!(f, "out of memory (oom_kill rose by {count}): "),
        OomKills::Counted(count) => write!(f, "maybe out of memory (oom_kill is {count}, first read after this): "),
    }
}

fn write_who(f: &mut Formatter<'_>, end: &CommandEnd, words: &Words<'_>) -> fmt::Result {
    match (end.cause, end.death) {
        (Cause::Incident, _) => f.write_str("incident: "),
        (Cause::StopRequest { signal, sender, .. }, _) => {
            write!(f, "asked to stop by {signal} {}: ", words.from(signal, sender, false))
        }
        (Cause::Terminal, Some(Death::Killed { signal, .. })) => write!(f, "stopped by {}: ", key(signal)),
        (Cause::Terminal, Some(Death::Exited(code))) => {
            let signal = Signal::new(i32::from(code).saturating_sub(128)).unwrap_or(Signal::INT);
            write!(f, "stopped by {}, as its status says: ", key(signal))
        }
        (Cause::Unasked | Cause::Forwarded | Cause::Terminal, _) => Ok(()),
    }
}

/// What somebody did at the terminal.
fn key(signal: Signal) -> &'static str {
    match signal {
        Signal::INT => "Ctrl-C",
        Signal::QUIT => "Ctrl-\\",
        _ => "the terminal's hang-up",
    }
}

/// What the line of the command's end has not said.
pub fn finished(f: &mut Formatter<'_>, summary: &Summary) -> fmt::Result {
    let Reaped { orphans, stopped, killed } = summary.reaped;
    f.write_str("finished: ")?;
    match summary.outcome {
        Outcome::Code(code) => write!(f, "exit code {code}")?,
        Outcome::Signal(signal) => write!(f, "foster ends by {signal} too")?,
    }
    match (summary.end.death, summary.grace_over) {
        (None, _) => f.write_str(", but SIGKILL did not end the command")?,
        (Some(_), true) => f.write_str(", the grace was over")?,
        (Some(_), false) => {}
    }
    write!(f, "; orphans reaped: {orphans}; leftovers stopped: {stopped}, killed: {killed}")
}

/// Who it was and how it ended, then what it used.
pub fn orphan(f: &mut Formatter<'_>, orphan: &Orphan, words: &Words<'_>) -> fmt::Result {
    want_of_memory(f, orphan.oom_kills)?;
    write!(f, "reaped orphan {}", orphan.pid)?;
    if let Some(name) = orphan.name {
        write!(f, " ({})", Short(&name, words.most))?;
    }
    write!(f, ": {}", orphan.death)?;
    if let Some(age) = orphan.age {
        write!(f, ", age {}", Span(age))?;
    }
    write!(f, ", CPU {}, max RSS {} KiB", Span(orphan.cpu), orphan.max_rss_kib)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use log::Level;
    use proptest::prelude::*;

    use super::*;
    use crate::facts::Report;
    use crate::output::Line;
    use crate::report::words::tests::{any_end, scene, text};
    use crate::report::{json, level};
    use crate::signal::Sender;
    use crate::text::{Name, Title};

    const RAN: Duration = Duration::from_secs(7262);

    fn killed(number: i32, core_dumped: bool) -> Death {
        Death::Killed { signal: Signal::new(number).expect("a signal"), core_dumped }
    }

    fn ended(death: Death, cause: Cause, oom_kills: OomKills) -> CommandEnd {
        CommandEnd { pid: 7, death: Some(death), ran: RAN, cause, oom_kills }
    }

    fn asked(sender: Sender) -> Cause {
        Cause::StopRequest { signal: Signal::TERM, sender, took: Duration::from_millis(1200) }
    }

    /// Each by its first words: who ended it and whether that is an incident.
    #[test]
    fn an_end_says_who_did_it_first_and_figures_last() {
        let kubectl = Sender::Process { pid: 12, uid: 0, name: Some(Title::new(Name::new(b"kubectl"))) };
        for (end, says) in [
            (
                ended(killed(11, true), Cause::Incident, OomKills::NONE),
                "incident: command app\\n was killed by SIGSEGV (signal 11), which foster did not send; core dumped, ran 2 h 1 min, pid 7",
            ),
            (
                ended(killed(11, false), Cause::Incident, OomKills::NONE),
                "incident: command app\\n was killed by SIGSEGV (signal 11), which foster did not send; no core dump, ran 2 h 1 min, pid 7",
            ),
            (
                ended(killed(9, false), Cause::Incident, OomKills::Rose(1)),
                "out of memory (oom_kill rose by 1): command app\\n was killed by SIGKILL (signal 9); ran 2 h 1 min, pid 7",
            ),
            (
                ended(Death::Exited(137), Cause::Unasked, OomKills::Counted(2)),
                "maybe out of memory (oom_kill is 2, first read after this): command app\\n exited with status 137; ran 2 h 1 min, pid 7",
            ),
            (
                ended(Death::Exited(3), Cause::Unasked, OomKills::NONE),
                "command app\\n exited with status 3; ran 2 h 1 min, pid 7",
            ),
            (
                ended(Death::Exited(0), asked(Sender::Outside), OomKills::NONE),
                "asked to stop by SIGTERM from outside the container: command app\\n exited with status 0 after 1.200 s; ran 2 h 1 min",
            ),
            (
                ended(killed(15, false), asked(kubectl), OomKills::NONE),
                "asked to stop by SIGTERM from pid 12 (kubectl): command app\\n was killed by SIGTERM (signal 15) after 1.200 s; ran 2 h 1 min",
            ),
            (
                ended(killed(2, false), Cause::Terminal, OomKills::NONE),
                "stopped by Ctrl-C: command app\\n was killed by SIGINT (signal 2); ran 2 h 1 min, pid 7",
            ),
            (
                ended(Death::Exited(130), Cause::Terminal, OomKills::NONE),
                "stopped by Ctrl-C, as its status says: command app\\n exited with status 130; ran 2 h 1 min, pid 7",
            ),
            (
                ended(killed(1, false), Cause::Terminal, OomKills::NONE),
                "stopped by the terminal's hang-up: command app\\n was killed by SIGHUP (signal 1); ran 2 h 1 min, pid 7",
            ),
            (
                ended(killed(10, false), Cause::Forwarded, OomKills::NONE),
                "command app\\n was killed by SIGUSR1 (signal 10), which foster forwarded; ran 2 h 1 min, pid 7",
            ),
            (
                ended(killed(9, false), asked(Sender::Unknown), OomKills::Rose(2)),
                "asked to stop by SIGTERM from an unknown sender: command app\\n was killed by SIGKILL (signal 9) after 1.200 s; ran 2 h 1 min, oom_kill rose by 2",
            ),
        ] {
            let line = text(Report::CommandEnded(end));
            let whole = says.chars().count() <= 133;
            assert!(if whole { line == says } else { says.starts_with(line.trim_end_matches('…')) }, "{line}\n{says}");
            // The one is that of the request, and there is no other.
            assert!(line.matches("after").count() <= 1, "{line}");
        }
    }

    #[test]
    fn an_end_is_an_error_only_as_an_incident() {
        let level_of = |cause, oom_kills| level(&Report::CommandEnded(ended(killed(11, true), cause, oom_kills)), true);
        assert_eq!(level_of(Cause::Incident, OomKills::NONE), Level::Error);
        for cause in [Cause::Unasked, Cause::Forwarded, Cause::Terminal, asked(Sender::Outside)] {
            assert_eq!(level_of(cause, OomKills::NONE), Level::Info);
        }
        // A shell says 137 for the program that it ran, and only foster knows why.
        for oom_kills in [OomKills::Rose(1), OomKills::Counted(2)] {
            assert_eq!(level_of(Cause::Unasked, oom_kills), Level::Warn);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        /// Whatever else there is to say: that memory ran out, that it is an incident, or who asked, comes first, and how it ended
        /// is not cut.
        #[test]
        fn what_matters_is_never_cut(end in any_end()) {
            let line = text(Report::CommandEnded(end));
            let first = match (end.cause, end.oom_kills) {
                (Cause::Unasked | Cause::Incident, OomKills::Rose(1..)) => "out of memory (",
                (Cause::Unasked | Cause::Incident, OomKills::Counted(_)) => "maybe out of memory (",
                (Cause::Incident, _) => "incident: command ",
                (Cause::StopRequest { .. }, _) => "asked to stop by SIG",
                (Cause::Terminal, _) if end.death.is_some() => "stopped by ",
                _ => "command ",
            };
            prop_assert!(line.starts_with(first) || line.starts_with("asked to stop by signal 3"), "{}", line);
            let how = match end.death {
                None => "did not end",
                Some(Death::Exited(_)) => "exited with status ",
                Some(Death::Killed { .. }) => "was killed by SI",
            };
            prop_assert!(line.contains(how) || line.contains("was killed by signal 3"), "{}", line);
        }
    }

    fn finished(death: Option<Death>, cause: Cause, outcome: Outcome, grace_over: bool) -> Summary {
        let end = CommandEnd { death, ..ended(Death::Exited(0), cause, OomKills::NONE) };
        Summary { end, reaped: Reaped { orphans: 12, stopped: 2, killed: 1 }, grace_over, outcome, group_signal: None }
    }

    #[test]
    fn the_summary_repeats_nothing_of_the_end() {
        let by = Some(killed(15, false));
        for (summary, says) in [
            (
                finished(by, asked(Sender::Outside), Outcome::Code(143), false),
                "finished: exit code 143; orphans reaped: 12; leftovers stopped: 2, killed: 1",
            ),
            (
                finished(by, asked(Sender::Outside), Outcome::Signal(Signal::TERM), false),
                "finished: foster ends by SIGTERM too; orphans reaped: 12; leftovers stopped: 2, killed: 1",
            ),
            (
                finished(by, asked(Sender::Outside), Outcome::Code(137), true),
                "finished: exit code 137, the grace was over; orphans reaped: 12; leftovers stopped: 2, killed: 1",
            ),
            (
                finished(None, asked(Sender::Outside), Outcome::Code(137), true),
                "finished: exit code 137, but SIGKILL did not end the command; orphans reaped: 12; leftovers stopped: 2, killed: 1",
            ),
        ] {
            let line = text(Report::Finished(summary));
            assert_eq!(line, says);
            let end = text(Report::CommandEnded(summary.end));
            assert!(!line.contains("SIGTERM from") && !end.contains("exit code"), "{end}\n{line}");
        }
    }

    #[test]
    fn a_command_that_even_sigkill_did_not_end_is_not_said_to_have_been_killed() {
        let summary = finished(None, asked(Sender::Outside), Outcome::Code(137), true);
        assert!(text(Report::CommandEnded(summary.end)).contains("command app\\n did not end, not even by SIGKILL"));
        assert!(summary.is_abnormal(), "the termination log has it too");
        let mut line = Line::new();
        line.object(|object| json::members(object, &Report::Finished(summary), &scene(true)));
        let json = String::from_utf8_lossy(line.finish()).into_owned();
        assert!(
            json.contains("\"pid\":7,\"did_not_end\":true,\"ran_s\":7262.000,\"cause\":\"stop_request\""),
            "{json}"
        );
        assert!(!json.contains("\"signal\"") && !json.contains("exit_status"), "{json}");
    }

    #[test]
    fn an_end_is_abnormal_if_nobody_asked_or_the_grace_was_over() {
        let asked = asked(Sender::Outside);
        let code = |code| (Death::Exited(code), Outcome::Code(code));
        for (cause, (death, outcome), grace_over, is_abnormal) in [
            (Cause::Unasked, code(0), false, false),
            (Cause::Unasked, code(1), false, true),
            (Cause::Unasked, (Death::Exited(1), Outcome::Code(0)), false, false),
            (Cause::Unasked, code(0), true, true),
            (Cause::Incident, code(139), false, true),
            (Cause::Terminal, code(130), false, false),
            (asked, code(143), false, false),
            (asked, code(1), false, false),
            (asked, code(137), true, true),
        ] {
            let summary = finished(Some(death), cause, outcome, grace_over);
            assert_eq!(summary.is_abnormal(), is_abnormal, "{summary:?}");
        }
    }

    #[test]
    fn an_orphans_line_leaves_nothing_out() {
        let orphan = Orphan {
            pid: 30740,
            death: killed(9, false),
            name: Some(Name::new(b"chrome\n")),
            age: Some(Duration::from_millis(125_250)),
            cpu: Duration::from_millis(31),
            max_rss_kib: 18_432,
            oom_kills: OomKills::NONE,
        };
        assert_eq!(
            text(Report::Orphan(orphan)),
            "reaped orphan 30740 (chrome\\n): killed by SIGKILL (signal 9), age 2 min 5 s, CPU 0.031 s, max RSS 18432 KiB"
        );
        let unreadable = Orphan { name: None, age: None, death: Death::Exited(23), ..orphan };
        assert_eq!(
            text(Report::Orphan(unreadable)),
            "reaped orphan 30740: exited with status 23, CPU 0.031 s, max RSS 18432 KiB"
        );
        let for_memory = text(Report::Orphan(Orphan { oom_kills: OomKills::Rose(2), ..orphan }));
        assert!(
            for_memory.starts_with("out of memory (oom_kill rose by 2): reaped orphan 30740 (chrome"),
            "{for_memory}"
        );
    }

    #[test]
    fn an_orphan_is_said_at_debug_and_never_higher_but_for_the_flag() {
        for death in [Death::Exited(0), Death::Exited(1), killed(11, true)] {
            let (cpu, oom_kills) = (Duration::ZERO, OomKills::Rose(1));
            let report =
                Report::Orphan(Orphan { pid: 1, death, name: None, age: None, cpu, max_rss_kib: 0, oom_kills });
            assert_eq!(level(&report, false), Level::Debug);
            assert_eq!(level(&report, true), Level::Warn);
        }
    }
}
