//! What a line says in words.

use std::fmt;
use std::time::Duration;

use crate::exit::Outcome;
use crate::facts::{Cause, CommandEnd, Lack, OomKills, Orphan, Reaped, Report, Roll};
use crate::proc::Stat;
use crate::signal::{Delivery, Sender, Signal};
use crate::text::OneLine;

/// How many of those alive are named in one line.
pub const ROLL_NAMES: usize = 10;

/// The line about one thing that happened.
pub fn of<'a>(report: &'a Report, command: &'a [u8]) -> impl fmt::Display + 'a {
    fmt::from_fn(move |f| write(f, report, command))
}

fn write(f: &mut fmt::Formatter<'_>, report: &Report, command: &[u8]) -> fmt::Result {
    let command = OneLine(command);
    match report {
        Report::Started { pid } => write!(f, "started command {command} as pid {pid}"),
        Report::Received(delivery) => write!(f, "received {}", Came(*delivery)),
        Report::Forwarded { delivery, signal, group } => {
            let to = if *group { "the process group of command" } else { "command" };
            write!(f, "{} to {to} {command}", Passed(*delivery, *signal))
        }
        Report::ForwardedToLeftovers { delivery, signal } => {
            write!(f, "{} to what command {command} left behind", Passed(*delivery, *signal))
        }
        Report::ForwardTooLate(signal) => write!(f, "{signal} not forwarded: command {command} has just ended"),
        Report::ForwardFailed { signal, errno } => {
            write!(f, "{signal} could not be forwarded to command {command}: {}", errno.desc())
        }
        Report::Dropped(delivery) => write!(f, "{} dropped, as --rewrite says", Came(*delivery)),
        Report::SameRequest(delivery) => write!(f, "{} within a second: the same request", Came(*delivery)),
        Report::Held { delivery, delay } => {
            write!(f, "{} held for {}, as --stop-delay says", Came(*delivery), Span(*delay))
        }
        Report::CommandStopped { signal, continued: true } => {
            write!(f, "command {command} was stopped by {signal}; no shell could continue it, so foster did")
        }
        Report::CommandStopped { signal, continued: false } => {
            write!(f, "command {command} was stopped by {signal} and stays so until somebody sends it SIGCONT")
        }
        Report::Orphan(orphan) => write_orphan(f, orphan),
        Report::CommandEnded(end) => {
            write!(f, "command {command} (pid {}) {}, after {}", end.pid, how(end), Span(end.ran))?;
            write_why(f, end)
        }
        Report::Finished(summary) => {
            let Reaped { orphans, stopped, killed } = summary.reaped;
            write!(f, "finished: command {command} {}", how(&summary.end))?;
            write_why(f, &summary.end)?;
            write!(f, "; orphans reaped: {orphans}; leftovers stopped: {stopped}, killed: {killed}; ")?;
            match summary.outcome {
                Outcome::Code(code) => write!(f, "exit code {code}"),
                Outcome::Signal(signal) => write!(f, "foster ends by {signal} too"),
            }
        }
        other => write_other(f, other, &command),
    }
}

/// The second half: leftovers, the pause, and what could not be had.
fn write_other(f: &mut fmt::Formatter<'_>, report: &Report, command: &OneLine<'_>) -> fmt::Result {
    match report {
        Report::LeftoversAsked { signal, all_at_once: true, .. } => {
            write!(f, "{signal} sent to all that command {command} left behind at once: ")?;
            f.write_str("/proc does not show who is whose child")
        }
        Report::LeftoversAsked { signal, count, .. } => {
            write!(f, "{signal} sent to what command {command} left behind (processes: {count})")
        }
        Report::LastCall { signal, count } => {
            write!(f, "last call: {signal} sent to {count} more, whom nobody had asked to end")
        }
        Report::LeftoversAwaited => {
            write!(f, "command {command} has ended and left processes behind; waiting for them, as --wait says")
        }
        Report::LeftoversContinued(signal) => {
            write!(f, "what command {command} left behind got {signal}; no shell could continue it, so foster did")
        }
        Report::LeftoversUnknown(errno) => {
            let why = match errno {
                nix::Error::ESRCH => "it is another PID namespace's",
                other => other.desc(),
            };
            write!(f, "what command {command} left behind cannot be found and stays alive: /proc: {why}")
        }
        Report::Paused => f.write_str("no command, as --pause says: reaping until SIGTERM or SIGINT"),
        Report::PauseEnded { delivery, orphans } => {
            write!(f, "finished: {} ended the pause; orphans reaped: {orphans}", Came(*delivery))
        }
        Report::OrphansElsewhere => f.write_str(
            "not PID 1 and no subreaper, so orphans go to another process; -s or FOSTER_SUBREAPER=1 makes it one",
        ),
        Report::Degraded { what, errno } => write!(f, "{}: {}", lacking(*what), errno.desc()),
        // The first half.
        _ => Ok(()),
    }
}

/// What could not be had, and what follows from that.
fn lacking(what: Lack) -> &'static str {
    match what {
        Lack::Group => "the command has no process group of its own",
        Lack::Terminal => "the command did not get the terminal",
        Lack::Subreaper => "not a subreaper, so orphans go to another process",
        Lack::ParentDeath => "the death of foster's parent will go unnoticed",
        Lack::TerminationLog => "the termination log cannot be written",
        Lack::LastWord => "the termination log could not be written",
    }
}

/// A signal and who sent it.
struct Came(Delivery);

impl fmt::Display for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.signal, From(self.0.sender))
    }
}

/// The same, and what was sent on.
struct Passed(Delivery, Signal);

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Passed(delivery, signal) = *self;
        if signal == delivery.signal {
            write!(f, "{} forwarded", Came(delivery))
        } else {
            write!(f, "{} forwarded as {signal}", Came(delivery))
        }
    }
}

/// `from pid 12 (kubectl, uid 0)`, `from outside this PID namespace`.
struct From(Sender);

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Sender::Process { pid, uid, name: Some(name) } => write!(f, "from pid {pid} ({name}, uid {uid})"),
            Sender::Process { pid, uid, name: None } => write!(f, "from pid {pid} (uid {uid})"),
            Sender::Claimed { pid: 0, .. } => {
                f.write_str("from a process that claims to be pid 0, outside this PID namespace")
            }
            Sender::Claimed { pid, uid, name: Some(name) } => {
                write!(f, "from a process that claims to be pid {pid} ({name}, uid {uid})")
            }
            Sender::Claimed { pid, uid, name: None } => {
                write!(f, "from a process that claims to be pid {pid} (uid {uid})")
            }
            Sender::Outside => f.write_str("from outside this PID namespace"),
            Sender::Unknown => f.write_str("from a sender that the kernel does not name"),
            Sender::Kernel => f.write_str("from the kernel"),
            Sender::Myself => f.write_str("from foster itself"),
        }
    }
}

fn how(end: &CommandEnd) -> impl fmt::Display {
    fmt::from_fn(|f| match end.death {
        Some(death) => write!(f, "{death}"),
        None => f.write_str("did not end"),
    })
}

fn write_why(f: &mut fmt::Formatter<'_>, end: &CommandEnd) -> fmt::Result {
    match end.cause {
        Cause::Unasked => {}
        Cause::StopRequest { signal, sender, took } => {
            write!(f, ", {} after {signal} {} had asked it to stop", Span(took), From(sender))?;
        }
        Cause::Forwarded => f.write_str(", by a signal that foster forwarded")?,
        Cause::Terminal => f.write_str(", from the terminal")?,
        Cause::Incident => f.write_str("; nobody asked for this end: no such signal came through foster")?,
    }
    write_oom_kills(f, end.oom_kills)
}

/// A fact and not a verdict: another process of the cgroup may be the one that the OOM killer took.
fn write_oom_kills(f: &mut fmt::Formatter<'_>, oom_kills: OomKills) -> fmt::Result {
    match oom_kills {
        OomKills::NONE => Ok(()),
        OomKills::Rose(count) => write!(f, "; the cgroup's oom_kill count rose by {count} meanwhile: out of memory"),
        OomKills::Counted(count) => write!(
            f,
            "; the cgroup's oom_kill count is {count}, which foster first read after this end: maybe out of memory"
        ),
    }
}

fn write_orphan(f: &mut fmt::Formatter<'_>, orphan: &Orphan) -> fmt::Result {
    write!(f, "reaped orphan {}", orphan.pid)?;
    if let Some(name) = orphan.name {
        write!(f, " ({name})")?;
    }
    write!(f, ": {}", orphan.death)?;
    if let Some(age) = orphan.age {
        write!(f, ", age {}", Span(age))?;
    }
    write!(f, ", CPU {}, max RSS {} KiB", Span(orphan.cpu), orphan.max_rss_kib)?;
    write_oom_kills(f, orphan.oom_kills)
}

/// A span of time as people read it: `0.250 s`, `2 min 5 s`, `3 h 12 min`, `4 d 1 h`.
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0.as_secs();
        match s {
            0..60 => write!(f, "{s}.{:03} s", self.0.subsec_millis()),
            60..3600 => write!(f, "{} min {} s", s / 60, s % 60),
            3600..86400 => write!(f, "{} h {} min", s / 3600, s / 60 % 60),
            _ => write!(f, "{} d {} h", s / 86400, s / 3600 % 24),
        }
    }
}

/// Those who are still alive: pid, name and state of the first few, and how many more.
pub fn roll(roll: Roll, alive: &[Stat]) -> impl fmt::Display {
    let names = fmt::from_fn(|f| {
        for (i, process) in alive.iter().take(ROLL_NAMES).enumerate() {
            f.write_str(if i == 0 { "" } else { ", " })?;
            write!(f, "{} ({}, {})", process.pid, process.name, process.state_in_words())?;
        }
        match alive.len().saturating_sub(ROLL_NAMES) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    });
    fmt::from_fn(move |f| {
        match roll {
            Roll::Awaited(Some(left)) => write!(f, "waiting {} more before SIGKILL for ", Span(left))?,
            Roll::Awaited(None) => f.write_str("waiting, without a limit of foster's own, for ")?,
            Roll::Killed => f.write_str("the grace is over, SIGKILL to ")?,
            Roll::GivenUp => f.write_str("SIGKILL did not end ")?,
            Roll::Refused => f.write_str("foster is not permitted to signal ")?,
        }
        match alive.len() {
            // They may come and go faster than they are looked at, or /proc may not be this PID namespace's.
            0 => f.write_str("processes that could not be named"),
            1 => write!(f, "1 process: {names}"),
            count => write!(f, "{count} processes: {names}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use log::Level;

    use super::*;
    use crate::exit::Death;
    use crate::facts::Summary;
    use crate::output;
    use crate::report::{json, level};
    use crate::text::Name;

    fn text(report: Report) -> String {
        of(&report, b"/usr/bin/app\n").to_string()
    }

    fn signal(number: i32) -> Signal {
        Signal::new(number).expect("a signal")
    }

    fn from(sender: Sender) -> Delivery {
        Delivery { signal: Signal::TERM, sender, payload: None }
    }

    #[test]
    fn a_roll_names_ten_and_counts_the_others() {
        let process =
            |pid| Stat { pid, name: Name::new(b"x"), state: b'S', parent: 1, group: 1, threads: 1, start_ticks: 0 };
        let said = |count| roll(Roll::Killed, &(1..=count).map(process).collect::<Vec<_>>()).to_string();
        let ten = ", 9 (x, sleeping), 10 (x, sleeping)";
        assert!(
            said(10).contains("SIGKILL to 10 processes: 1 (x, sleeping), ") && said(10).ends_with(ten),
            "{}",
            said(10)
        );
        assert!(said(12).ends_with(&format!("{ten} and 2 more")), "{}", said(12));
    }

    #[test]
    fn an_orphans_line_leaves_nothing_out() {
        let orphan = Orphan {
            pid: 30740,
            death: Death::Killed { signal: signal(9), core_dumped: false },
            name: Some(Name::new(b"chrome\n")),
            age: Some(Duration::from_millis(125_250)),
            cpu: Duration::from_millis(31),
            max_rss_kib: 18_432,
            oom_kills: OomKills::NONE,
        };
        assert_eq!(
            text(Report::Orphan(orphan)),
            "reaped orphan 30740 (chrome\\n): was killed by SIGKILL (signal 9), no core dump, age 2 min 5 s, CPU 0.031 s, max RSS 18432 KiB"
        );
        let unreadable = Orphan { name: None, age: None, death: Death::Exited(23), ..orphan };
        assert_eq!(
            text(Report::Orphan(unreadable)),
            "reaped orphan 30740: exited with status 23, CPU 0.031 s, max RSS 18432 KiB"
        );
        assert!(
            text(Report::Orphan(Orphan { oom_kills: OomKills::Rose(2), ..orphan }))
                .ends_with("KiB; the cgroup's oom_kill count rose by 2 meanwhile: out of memory")
        );
    }

    #[test]
    fn an_orphan_is_said_at_debug_and_never_higher_but_for_the_flag() {
        for death in [Death::Exited(0), Death::Exited(1), Death::Killed { signal: signal(11), core_dumped: true }] {
            let cpu = Duration::ZERO;
            let report = Report::Orphan(Orphan {
                pid: 1,
                death,
                name: None,
                age: None,
                cpu,
                max_rss_kib: 0,
                oom_kills: OomKills::Rose(1),
            });
            assert_eq!(level(&report, false), Level::Debug);
            assert_eq!(level(&report, true), Level::Warn);
        }
    }

    #[test]
    fn the_commands_end_is_an_error_only_as_an_incident() {
        let death = Death::Killed { signal: signal(11), core_dumped: true };
        let ran = Duration::from_secs(7262);
        let ended = |cause| {
            Report::CommandEnded(CommandEnd { pid: 7, death: Some(death), ran, cause, oom_kills: OomKills::NONE })
        };
        assert_eq!(level(&ended(Cause::Incident), false), Level::Error);
        let asked =
            Cause::StopRequest { signal: Signal::TERM, sender: Sender::Outside, took: Duration::from_millis(1200) };
        for cause in [Cause::Unasked, Cause::Forwarded, Cause::Terminal, asked] {
            assert_eq!(level(&ended(cause), true), Level::Info);
        }
        assert_eq!(
            text(ended(Cause::Incident)),
            "command /usr/bin/app\\n (pid 7) was killed by SIGSEGV (signal 11), core dumped, after 2 h 1 min; \
             nobody asked for this end: no such signal came through foster"
        );
        assert_eq!(
            text(ended(asked)),
            "command /usr/bin/app\\n (pid 7) was killed by SIGSEGV (signal 11), core dumped, after 2 h 1 min, \
             1.200 s after SIGTERM from outside this PID namespace had asked it to stop"
        );
    }

    #[test]
    fn a_forward_says_who_sent_it_and_what_it_became() {
        let kubectl = Sender::Process { pid: 12, uid: 1000, name: Some(Name::new(b"kubectl")) };
        assert_eq!(
            text(Report::Forwarded { delivery: from(kubectl), signal: Signal::TERM, group: false }),
            "SIGTERM from pid 12 (kubectl, uid 1000) forwarded to command /usr/bin/app\\n"
        );
        assert_eq!(
            text(Report::Forwarded { delivery: from(Sender::Outside), signal: Signal::QUIT, group: true }),
            "SIGTERM from outside this PID namespace forwarded as SIGQUIT to the process group of command /usr/bin/app\\n"
        );
    }

    fn finished(death: Death, cause: Cause, outcome: Outcome, grace_over: bool) -> Summary {
        let end =
            CommandEnd { pid: 7, death: Some(death), ran: Duration::from_secs(3), cause, oom_kills: OomKills::NONE };
        Summary { end, reaped: Reaped { orphans: 12, stopped: 2, killed: 1 }, grace_over, outcome, group_signal: None }
    }

    #[test]
    fn the_summary_says_how_why_and_how_many() {
        let asked =
            Cause::StopRequest { signal: Signal::TERM, sender: Sender::Outside, took: Duration::from_millis(5) };
        let killed = Death::Killed { signal: Signal::TERM, core_dumped: false };
        assert_eq!(
            text(Report::Finished(finished(killed, asked, Outcome::Code(143), false))),
            "finished: command /usr/bin/app\\n was killed by SIGTERM (signal 15), no core dump, 0.005 s after SIGTERM from \
             outside this PID namespace had asked it to stop; orphans reaped: 12; leftovers stopped: 2, killed: 1; exit code 143"
        );
        let by_signal = text(Report::Finished(finished(killed, asked, Outcome::Signal(Signal::TERM), false)));
        assert!(by_signal.ends_with("; foster ends by SIGTERM too"), "{by_signal}");
    }

    #[test]
    fn a_command_that_even_sigkill_did_not_end_is_not_said_to_have_been_killed() {
        let asked = Cause::StopRequest { signal: Signal::TERM, sender: Sender::Outside, took: Duration::from_secs(11) };
        let end =
            CommandEnd { pid: 7, death: None, ran: Duration::from_secs(12), cause: asked, oom_kills: OomKills::NONE };
        let outcome = Outcome::Code(137);
        let summary = Summary { end, reaped: Reaped::default(), grace_over: true, outcome, group_signal: None };
        assert_eq!(
            text(Report::Finished(summary)),
            "finished: command /usr/bin/app\\n did not end, 11.000 s after SIGTERM from outside this PID namespace had \
             asked it to stop; orphans reaped: 0; leftovers stopped: 0, killed: 0; exit code 137"
        );
        assert!(summary.is_abnormal(), "the termination log has it too");
        let mut line = output::Line::new();
        line.object(|object| json::members(object, &Report::Finished(summary), b"app"));
        let json = String::from_utf8_lossy(line.finish()).into_owned();
        assert!(json.contains("\"pid\":7,\"did_not_end\":true,\"ran_s\":12.000,\"cause\":\"stop_request\""), "{json}");
        assert!(!json.contains("\"signal\"") && !json.contains("exit_status"), "{json}");
    }

    #[test]
    fn an_end_is_abnormal_if_nobody_asked_or_the_grace_was_over() {
        let asked = Cause::StopRequest { signal: Signal::TERM, sender: Sender::Outside, took: Duration::ZERO };
        let code = |code| (Death::Exited(code), Outcome::Code(code));
        for (cause, (death, outcome), grace_over, is_abnormal) in [
            (Cause::Unasked, code(0), false, false),
            (Cause::Unasked, code(1), false, true),
            (Cause::Unasked, (Death::Exited(1), Outcome::Code(0)), false, false),
            (Cause::Unasked, code(0), true, true),
            (Cause::Incident, code(139), false, true),
            (asked, code(143), false, false),
            (asked, code(1), false, false),
            (asked, code(137), true, true),
        ] {
            let summary = finished(death, cause, outcome, grace_over);
            assert_eq!(summary.is_abnormal(), is_abnormal, "{summary:?}");
        }
    }

    #[test]
    fn a_shell_that_says_137_when_memory_ran_out_is_a_warning() {
        let ended = |oom_kills| {
            let (death, ran) = (Some(Death::Exited(137)), Duration::ZERO);
            Report::CommandEnded(CommandEnd { pid: 7, death, ran, cause: Cause::Unasked, oom_kills })
        };
        assert_eq!(level(&ended(OomKills::NONE), false), Level::Info);
        assert_eq!(level(&ended(OomKills::Rose(1)), false), Level::Warn);
        let early = ended(OomKills::Counted(2));
        assert_eq!(level(&early, false), Level::Warn);
        let words = "; the cgroup's oom_kill count is 2, which foster first read after this end: maybe out of memory";
        assert!(text(early).ends_with(words));
    }
}
