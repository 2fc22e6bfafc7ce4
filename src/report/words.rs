//! What a line says in words. It says what matters first: who did it and whether that is an incident, then the reason, then
//! figures. With what stands in front, a line has fewer than 160 characters.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::ends;
use crate::facts::{Lack, Report, Roll};
use crate::proc;
use crate::signal::{Delivery, Sender, Signal};
use crate::text::{OneLine, Short, Title, length};

/// How many of those alive JSON names in one line. As text it is as many as there is room for, and no more than these.
pub const ROLL_NAMES: usize = 10;
/// A line's text has at most so many characters. `foster[4194304]: warning: ` in front of it has 26.
const TEXT_MOST: usize = 133;
/// A name has at most so many characters, or fewer where the line would be too long.
pub const NAME_MOST: usize = 40;
/// In so many steps of four down to eight.
const NAME_STEPS: usize = 8;

/// How long a name may be when it was to be made shorter so many times.
fn name_most(step: usize) -> usize {
    NAME_MOST.saturating_sub(step.saturating_mul(4))
}

/// What every line is about.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The command's name as it was given.
    pub command: &'a [u8],
    /// The path of the termination log.
    pub termination_log: &'a [u8],
    /// foster is PID 1, so what is outside of its PID namespace is outside of the container.
    pub is_pid1: bool,
}

/// The line about one thing that happened.
pub fn of<'a>(report: &'a Report, scene: &'a Scene<'a>) -> impl Display + 'a {
    fmt::from_fn(move |f| match report {
        // A path is of use as a whole only.
        Report::Degraded { what: Lack::TerminationLog | Lack::LastWord, .. } => {
            write(f, report, &Words { scene, most: NAME_MOST })
        }
        _ => fit(f, NAME_STEPS, &|f, step| write(f, report, &Words { scene, most: name_most(step) })),
    })
}

/// Writes a text, made shorter step by step until there is room for it. If no step is enough, its end is cut: figures stand
/// there.
fn fit(f: &mut Formatter<'_>, steps: usize, text: &dyn Fn(&mut Formatter<'_>, usize) -> fmt::Result) -> fmt::Result {
    let mut step = 0;
    while step < steps && length(&fmt::from_fn(|f| text(f, step))) > TEXT_MOST {
        step = step.saturating_add(1);
    }
    Short(&fmt::from_fn(|f| text(f, step)), TEXT_MOST).fmt(f)
}

/// The words that depend on what the line is about, and on how long a name may be.
pub struct Words<'a> {
    pub scene: &'a Scene<'a>,
    pub most: usize,
}

impl Words<'_> {
    /// The command by its name. Of a path that is too long, the last part tells most.
    pub fn command(&self) -> impl Display {
        fmt::from_fn(|f| {
            let whole = OneLine(self.scene.command);
            match self.scene.command.rsplit(|b| *b == b'/').next() {
                Some(last) if last.len() < self.scene.command.len() && length(&whole) > self.most => {
                    write!(f, "…/{}", Short(&OneLine(last), self.most.saturating_sub(2)))
                }
                _ => Short(&whole, self.most).fmt(f),
            }
        })
    }

    /// A signal and who sent it.
    pub fn came(&self, delivery: Delivery) -> impl Display {
        fmt::from_fn(move |f| write!(f, "{} {}", delivery.signal, self.from(delivery.signal, delivery.sender, true)))
    }

    /// The same, and what was sent on.
    fn passed(&self, delivery: Delivery, signal: Signal) -> impl Display {
        fmt::from_fn(move |f| {
            write!(f, "{} forwarded", self.came(delivery))?;
            if signal == delivery.signal { Ok(()) } else { write!(f, " as {signal}") }
        })
    }

    /// `from pid 12 (kubectl, uid 0)`, `from outside the container`, `from the terminal (Ctrl-C)`.
    pub fn from(&self, signal: Signal, sender: Sender, with_uid: bool) -> impl Display {
        fmt::from_fn(move |f| {
            let outside = if self.scene.is_pid1 { "outside the container" } else { "outside this PID namespace" };
            let (pid, uid, name) = match sender {
                Sender::Process { pid, uid, name } => (pid, uid, name),
                Sender::Claimed { pid: 0, .. } => return write!(f, "from what claims to be {outside}"),
                Sender::Claimed { pid, uid, name } => (pid, uid, name),
                Sender::Outside => return write!(f, "from {outside}"),
                Sender::Unknown => return f.write_str("from an unknown sender"),
                Sender::Kernel => return f.write_str(from_kernel(signal)),
                Sender::Myself => return f.write_str("from foster itself"),
            };
            let claims = if matches!(sender, Sender::Claimed { .. }) { "what claims to be " } else { "" };
            write!(f, "from {claims}pid {pid}")?;
            match (name, with_uid) {
                (Some(name), true) => write!(f, " ({}, uid {uid})", Short(&name, self.most)),
                (Some(name), false) => write!(f, " ({})", Short(&name, self.most)),
                (None, _) => write!(f, " (uid {uid})"),
            }
        })
    }
}

/// The kernel sends these for a terminal's keys alone.
fn from_kernel(signal: Signal) -> &'static str {
    match signal {
        Signal::INT => "from the terminal (Ctrl-C)",
        Signal::QUIT => "from the terminal (Ctrl-\\)",
        Signal::TSTP => "from the terminal (Ctrl-Z)",
        _ => "from the kernel",
    }
}

fn write(f: &mut Formatter<'_>, report: &Report, words: &Words<'_>) -> fmt::Result {
    let command = words.command();
    match report {
        Report::Started { pid } => write!(f, "started command {command} as pid {pid}"),
        Report::Received(delivery) => write!(f, "received {}", words.came(*delivery)),
        Report::Forwarded { delivery, signal, group } => {
            let to = if *group { "the process group of command" } else { "command" };
            write!(f, "{} to {to} {command}", words.passed(*delivery, *signal))
        }
        Report::ForwardedToLeftovers { delivery, signal } => {
            write!(f, "{} to what command {command} left behind", words.passed(*delivery, *signal))
        }
        Report::ForwardTooLate(signal) => write!(f, "{signal} not forwarded: command {command} has just ended"),
        Report::ForwardFailed { signal, errno } => {
            write!(f, "{signal} could not be forwarded to command {command}: {}", errno.desc())?;
            f.write_str(if *errno == nix::Error::EPERM { "; foster needs CAP_KILL" } else { "" })
        }
        Report::Dropped(delivery) => write!(f, "{} dropped, as --rewrite says", words.came(*delivery)),
        Report::SameRequest(delivery) => {
            write!(f, "{} came again within a second: the same request", words.came(*delivery))
        }
        Report::Held { delivery, delay } => {
            write!(f, "{} held for {}, as --stop-delay says", words.came(*delivery), Span(*delay))
        }
        Report::CommandStopped { signal, continued: true } => {
            write!(f, "command {command} was suspended by {signal}; no shell can continue it here, so foster did")
        }
        Report::CommandStopped { signal, continued: false } => {
            write!(f, "command {command} was suspended by {signal} and stands still until somebody sends it SIGCONT")
        }
        Report::Orphan(orphan) => ends::orphan(f, orphan, words),
        Report::CommandEnded(end) => ends::command(f, end, words),
        Report::Finished(summary) => ends::finished(f, summary),
        other => write_other(f, other, words),
    }
}

/// The second half: leftovers, the pause, and what could not be had.
fn write_other(f: &mut Formatter<'_>, report: &Report, words: &Words<'_>) -> fmt::Result {
    let command = words.command();
    match report {
        Report::LeftoversAsked { signal, all_at_once: true, .. } => {
            write!(f, "{signal} sent to all that command {command} left behind at once: ")?;
            f.write_str("/proc does not show who is whose child")
        }
        Report::LeftoversAsked { signal, count, .. } => {
            write!(f, "{signal} sent to {} that command {command} left behind", Processes(*count))
        }
        Report::LastCall { signal, count } => {
            write!(f, "last call: {signal} sent to {} that nobody had asked to end", Processes(*count))
        }
        Report::LeftoversAwaited => {
            write!(f, "command {command} has ended and left processes behind; waiting for them, as --wait says")
        }
        Report::LeftoversContinued(signal) => {
            write!(f, "what command {command} left behind got {signal}; no shell can continue it here, so foster did")
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
            write!(f, "finished: {} ended the pause; orphans reaped: {orphans}", words.came(*delivery))
        }
        Report::OrphansElsewhere => f.write_str(
            "foster is neither PID 1 nor a subreaper, so it gets no orphans; -s or FOSTER_SUBREAPER=1 makes it one",
        ),
        Report::Degraded { what, errno } => {
            lacking(f, *what, words)?;
            write!(f, ": {}", errno.desc())
        }
        // The first half.
        _ => Ok(()),
    }
}

/// What could not be had, and what follows from that.
fn lacking(f: &mut Formatter<'_>, what: Lack, words: &Words<'_>) -> fmt::Result {
    let log = OneLine(words.scene.termination_log);
    match what {
        Lack::Group => f.write_str("the command has no process group of its own, so --group has no effect"),
        Lack::Terminal => f.write_str("the command did not get the terminal, so job control may not work"),
        Lack::Subreaper => f.write_str("foster cannot become a subreaper, so it gets no orphans"),
        Lack::ParentDeath => f.write_str("--parent-death has no effect"),
        Lack::TerminationLog => write!(f, "the termination log {log} cannot be written"),
        Lack::LastWord => write!(f, "the termination log {log} could not be written"),
    }
}

/// `1 process`, `3 processes`.
struct Processes(usize);

impl Display for Processes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, if self.0 == 1 { "process" } else { "processes" })
    }
}

/// A span of time as people read it: `0.250 s`, `2 min 5 s`, `3 h 12 min`, `4 d 1 h`.
pub struct Span(pub Duration);

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let s = self.0.as_secs();
        match s {
            0..60 => write!(f, "{s}.{:03} s", self.0.subsec_millis()),
            60..3600 => write!(f, "{} min {} s", s / 60, s % 60),
            3600..86400 => write!(f, "{} h {} min", s / 3600, s / 60 % 60),
            _ => write!(f, "{} d {} h", s / 86400, s / 3600 % 24),
        }
    }
}

/// One of those who are alive, and who it is.
#[derive(Clone, Copy)]
pub struct Alive<'a> {
    pub process: &'a proc::Stat,
    pub title: Title,
}

/// Those who are still alive: pid, name and state of the first few, and how many more. Fewer are named where there is no room,
/// and then the last one's name is made shorter.
pub fn roll(roll: Roll, count: usize, named: &[Alive]) -> impl Display {
    fmt::from_fn(move |f| {
        let others = named.len().saturating_sub(1);
        fit(f, others.saturating_add(NAME_STEPS), &|f, step| {
            let shown = named.get(..named.len().saturating_sub(step.min(others))).unwrap_or_default();
            write_roll(f, roll, count, shown, name_most(step.saturating_sub(others)))
        })
    })
}

fn write_roll(f: &mut Formatter<'_>, roll: Roll, count: usize, named: &[Alive], most: usize) -> fmt::Result {
    let who = fmt::from_fn(|f| match count {
        // They may come and go faster than they are looked at, or /proc may not be this PID namespace's.
        0 => f.write_str("processes that could not be named"),
        count => Processes(count).fmt(f),
    });
    let (before, after) = match roll {
        Roll::Awaited(Some(_)) => ("waiting for ", ""),
        Roll::Awaited(None) => ("waiting for ", ", and no --grace limits that"),
        Roll::Killed => ("the grace is over, SIGKILL to ", ""),
        Roll::GivenUp => ("foster ends without ", " that SIGKILL did not end"),
        Roll::Refused => ("foster may not signal ", " (it needs CAP_KILL)"),
    };
    write!(f, "{before}{who}{after}")?;
    if let Roll::Awaited(Some(left)) = roll {
        write!(f, ", SIGKILL in {}", Span(left))?;
    }
    for (i, alive) in named.iter().enumerate() {
        let Alive { process, title } = alive;
        let before = if i == 0 { ": " } else { ", " };
        write!(f, "{before}{} ({}, {})", process.pid, Short(title, most), process.state_in_words())?;
    }
    match count.saturating_sub(named.len()) {
        more @ 1.. if !named.is_empty() => write!(f, " and {more} more"),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub mod tests {
    use log::Level;
    use proptest::prelude::*;

    use super::*;
    use crate::exit::{Death, Outcome};
    use crate::facts::{Cause, CommandEnd, OomKills, Orphan, Reaped, Summary};
    use crate::report::level;
    use crate::text::Name;

    pub fn scene(is_pid1: bool) -> Scene<'static> {
        Scene { command: b"app\n", termination_log: b"/dev/termination-log", is_pid1 }
    }

    pub fn text(report: Report) -> String {
        of(&report, &scene(true)).to_string()
    }

    fn signal(number: i32) -> Signal {
        Signal::new(number).expect("a signal")
    }

    fn from(sender: Sender) -> Delivery {
        Delivery { signal: Signal::TERM, sender, payload: None }
    }

    fn named(name: &[u8]) -> Option<Title> {
        Some(Title::new(Name::new(name)))
    }

    #[test]
    fn a_forward_says_who_sent_it_and_what_it_became() {
        let kubectl = Sender::Process { pid: 12, uid: 1000, name: named(b"kubectl") };
        assert_eq!(
            text(Report::Forwarded { delivery: from(kubectl), signal: Signal::TERM, group: false }),
            "SIGTERM from pid 12 (kubectl, uid 1000) forwarded to command app\\n"
        );
        assert_eq!(
            text(Report::Forwarded { delivery: from(Sender::Outside), signal: Signal::QUIT, group: true }),
            "SIGTERM from outside the container forwarded as SIGQUIT to the process group of command app\\n"
        );
    }

    #[test]
    fn a_sender_is_named_as_far_as_the_kernel_vouches_for_it() {
        let line = b"sh\0-c\0kill 1\0";
        let shell = Some(Title::with_command_line(Name::new(b"sh"), line));
        for (number, sender, is_pid1, says) in [
            (15, Sender::Process { pid: 12, uid: 0, name: shell }, true, "SIGTERM from pid 12 (sh -c kill 1, uid 0)"),
            (15, Sender::Process { pid: 12, uid: 0, name: None }, true, "SIGTERM from pid 12 (uid 0)"),
            (
                15,
                Sender::Claimed { pid: 1, uid: 0, name: named(b"x") },
                true,
                "SIGTERM from what claims to be pid 1 (x, uid 0)",
            ),
            (
                15,
                Sender::Claimed { pid: 0, uid: 0, name: None },
                true,
                "SIGTERM from what claims to be outside the container",
            ),
            (15, Sender::Outside, true, "SIGTERM from outside the container"),
            (15, Sender::Outside, false, "SIGTERM from outside this PID namespace"),
            (15, Sender::Unknown, true, "SIGTERM from an unknown sender"),
            (2, Sender::Kernel, false, "SIGINT from the terminal (Ctrl-C)"),
            (3, Sender::Kernel, false, "SIGQUIT from the terminal (Ctrl-\\)"),
            (20, Sender::Kernel, false, "SIGTSTP from the terminal (Ctrl-Z)"),
            // Of an orphaned process group that stands still, for example.
            (1, Sender::Kernel, false, "SIGHUP from the kernel"),
            (24, Sender::Kernel, false, "SIGXCPU from the kernel"),
        ] {
            let report = Report::Received(Delivery { signal: signal(number), sender, payload: None });
            assert_eq!(of(&report, &scene(is_pid1)).to_string(), format!("received {says}"));
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_so_that_one_sees_it() {
        let started = |command: &[u8]| {
            let scene = Scene { command, ..scene(true) };
            of(&Report::Started { pid: 7 }, &scene).to_string()
        };
        assert_eq!(started(&[b'a'; 40]), format!("started command {} as pid 7", "a".repeat(40)));
        assert_eq!(started(&[b'a'; 41]), format!("started command {}… as pid 7", "a".repeat(39)));
        let path = b"/opt/vendor/product-1.2.3/lib/exec/very/deep/bin/server";
        assert_eq!(started(path), "started command …/server as pid 7");
    }

    #[test]
    fn what_could_not_be_had_says_what_follows_and_the_log_has_its_path() {
        let degraded = |what| text(Report::Degraded { what, errno: nix::Error::EPERM });
        for (what, says) in [
            (Lack::Group, "the command has no process group of its own, so --group has no effect"),
            (Lack::Terminal, "the command did not get the terminal, so job control may not work"),
            (Lack::Subreaper, "foster cannot become a subreaper, so it gets no orphans"),
            (Lack::ParentDeath, "--parent-death has no effect"),
            (Lack::TerminationLog, "the termination log /dev/termination-log cannot be written"),
            (Lack::LastWord, "the termination log /dev/termination-log could not be written"),
        ] {
            assert_eq!(degraded(what), format!("{says}: Operation not permitted"));
        }
        let failed = |errno| text(Report::ForwardFailed { signal: Signal::TERM, errno });
        assert!(failed(nix::Error::EPERM).ends_with(": Operation not permitted; foster needs CAP_KILL"));
        assert!(failed(nix::Error::EAGAIN).ends_with(": Try again"));
    }

    fn process(pid: i32, name: &[u8], state: u8) -> proc::Stat {
        proc::Stat { pid, name: Name::new(name), state, parent: 1, group: 1, threads: 1, start_ticks: 0 }
    }

    #[test]
    fn a_roll_has_as_many_names_as_there_is_room_for_and_says_how_many_more() {
        let stats: Vec<proc::Stat> = (0..12).map(|i| process(3 + i, b"sh", b'S')).collect();
        let line = b"sh\0-c\0exec job\0";
        let title = |stat: &proc::Stat| Title::with_command_line(stat.name, line);
        let named: Vec<Alive> = stats.iter().map(|stat| Alive { process: stat, title: title(stat) }).collect();
        let left = Roll::Awaited(Some(Duration::from_millis(999)));
        assert_eq!(
            roll(left, 2, &named[..2]).to_string(),
            "waiting for 2 processes, SIGKILL in 0.999 s: 3 (sh -c exec job, sleeping), 4 (sh -c exec job, sleeping)"
        );
        assert_eq!(
            roll(Roll::Killed, 12, &named[..ROLL_NAMES]).to_string(),
            "the grace is over, SIGKILL to 12 processes: 3 (sh -c exec job, sleeping), 4 (sh -c exec job, sleeping) and 10 more"
        );
        for (why, says) in [
            (Roll::Awaited(None), "waiting for processes that could not be named, and no --grace limits that"),
            (Roll::Killed, "the grace is over, SIGKILL to processes that could not be named"),
            (Roll::GivenUp, "foster ends without processes that could not be named that SIGKILL did not end"),
            (Roll::Refused, "foster may not signal processes that could not be named (it needs CAP_KILL)"),
        ] {
            assert_eq!(roll(why, 0, &[]).to_string(), says);
        }
    }

    /// Nothing that runs is older, and no process may use more: pids end at 2^22 (PID_MAX_LIMIT), and memory at 2^57 bytes.
    const OLDEST: Duration = Duration::from_secs(99_999 * 86_400 + 86_399);
    const LARGEST_KIB: u64 = 1 << 47;

    fn any_signal() -> impl Strategy<Value = Signal> {
        (1..=64).prop_map(signal)
    }

    fn any_title() -> impl Strategy<Value = Option<Title>> {
        let bytes = || proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'w'), Just(0xff)], 0..60);
        proptest::option::of(
            (bytes(), bytes()).prop_map(|(name, line)| Title::with_command_line(Name::new(&name), &line)),
        )
    }

    fn any_sender() -> impl Strategy<Value = Sender> {
        prop_oneof![
            (1..=4_194_304, any::<u32>(), any_title()).prop_map(|(pid, uid, name)| Sender::Process { pid, uid, name }),
            // What a sender writes itself may be anything.
            (any::<i32>(), any::<u32>(), any_title()).prop_map(|(pid, uid, name)| Sender::Claimed { pid, uid, name }),
            Just(Sender::Claimed { pid: 0, uid: 0, name: None }),
            Just(Sender::Outside),
            Just(Sender::Unknown),
            Just(Sender::Kernel),
            Just(Sender::Myself),
        ]
    }

    fn any_delivery() -> impl Strategy<Value = Delivery> {
        (any_signal(), any_sender()).prop_map(|(signal, sender)| Delivery { signal, sender, payload: None })
    }

    fn any_span() -> impl Strategy<Value = Duration> {
        prop_oneof![
            Just(OLDEST),
            (0..=OLDEST.as_secs()).prop_map(Duration::from_secs),
            Just(Duration::from_millis(59_999))
        ]
    }

    fn any_death() -> impl Strategy<Value = Death> {
        prop_oneof![
            any::<u8>().prop_map(Death::Exited),
            (any_signal(), any::<bool>()).prop_map(|(signal, core_dumped)| Death::Killed { signal, core_dumped }),
        ]
    }

    fn any_oom_kills() -> impl Strategy<Value = OomKills> {
        prop_oneof![
            Just(OomKills::NONE),
            any::<u32>().prop_map(|count| OomKills::Rose(count.into())),
            any::<u32>().prop_map(|count| OomKills::Counted(count.into())),
        ]
    }

    pub fn any_end() -> impl Strategy<Value = CommandEnd> {
        let cause = prop_oneof![
            Just(Cause::Unasked),
            Just(Cause::Forwarded),
            Just(Cause::Terminal),
            Just(Cause::Incident),
            (any_signal(), any_sender(), any_span()).prop_map(|(signal, sender, took)| Cause::StopRequest {
                signal,
                sender,
                took
            }),
        ];
        (1..=4_194_304, proptest::option::of(any_death()), any_span(), cause, any_oom_kills())
            .prop_map(|(pid, death, ran, cause, oom_kills)| CommandEnd { pid, death, ran, cause, oom_kills })
    }

    fn any_summary() -> impl Strategy<Value = Summary> {
        let outcome = prop_oneof![any::<u8>().prop_map(Outcome::Code), any_signal().prop_map(Outcome::Signal)];
        let count = || prop_oneof![any::<u32>().prop_map(u64::from), Just(9_999_999_999_999)];
        let reaped = (count(), 0..=4_194_304_u64, 0..=4_194_304_u64).prop_map(|(orphans, stopped, killed)| Reaped {
            orphans,
            stopped,
            killed,
        });
        (any_end(), reaped, any::<bool>(), outcome).prop_map(|(end, reaped, grace_over, outcome)| Summary {
            end,
            reaped,
            grace_over,
            outcome,
            group_signal: None,
        })
    }

    fn any_orphan() -> impl Strategy<Value = Orphan> {
        let name = any_title().prop_map(|title| title.map(|title| title.name));
        let rss = prop_oneof![0..LARGEST_KIB, Just(LARGEST_KIB)];
        (1..=4_194_304, any_death(), name, proptest::option::of(any_span()), any_span(), rss, any_oom_kills()).prop_map(
            |(pid, death, name, age, cpu, max_rss_kib, oom_kills)| Orphan {
                pid,
                death,
                name,
                age,
                cpu,
                max_rss_kib,
                oom_kills,
            },
        )
    }

    fn any_errno() -> impl Strategy<Value = nix::Error> {
        (0..134).prop_map(nix::Error::from_raw)
    }

    /// Everything that can be said. A variant that is new is an error here, until it is generated too.
    fn any_report() -> impl Strategy<Value = Report> {
        fn is_generated(report: &Report) {
            match report {
                Report::Started { .. } | Report::Received(_) | Report::Forwarded { .. } | Report::ForwardTooLate(_) => {
                }
                Report::ForwardFailed { .. } | Report::Dropped(_) | Report::Held { .. } => {}
                Report::CommandStopped { .. } | Report::LeftoversAsked { .. } | Report::LastCall { .. } => {}
                Report::SameRequest(_) | Report::LeftoversAwaited | Report::LeftoversContinued(_) => {}
                Report::ForwardedToLeftovers { .. } | Report::LeftoversUnknown(_) | Report::Orphan(_) => {}
                Report::CommandEnded(_) | Report::Finished(_) | Report::Paused | Report::PauseEnded { .. } => {}
                Report::OrphansElsewhere | Report::Degraded { .. } => {}
            }
        }
        let pid = 1..=4_194_304_i32;
        let count = || 0..=4_194_304_usize;
        let about_signals = prop_oneof![
            any_delivery().prop_map(Report::Received),
            any_delivery().prop_map(Report::Dropped),
            any_delivery().prop_map(Report::SameRequest),
            (any_delivery(), any_signal(), any::<bool>()).prop_map(|(delivery, signal, group)| Report::Forwarded {
                delivery,
                signal,
                group
            }),
            (any_delivery(), any_signal())
                .prop_map(|(delivery, signal)| Report::ForwardedToLeftovers { delivery, signal }),
            any_signal().prop_map(Report::ForwardTooLate),
            (any_signal(), any_errno()).prop_map(|(signal, errno)| Report::ForwardFailed { signal, errno }),
            (any_delivery(), any_span()).prop_map(|(delivery, delay)| Report::Held { delivery, delay }),
            (any_signal(), any::<bool>()).prop_map(|(signal, continued)| Report::CommandStopped { signal, continued }),
            any_signal().prop_map(Report::LeftoversContinued),
            (any_delivery(), any::<u64>()).prop_map(|(delivery, orphans)| Report::PauseEnded { delivery, orphans }),
        ];
        let about_processes = prop_oneof![
            pid.prop_map(|pid| Report::Started { pid }),
            (any_signal(), count(), any::<bool>(), any::<bool>()).prop_map(|(signal, count, first, all_at_once)| {
                Report::LeftoversAsked { signal, count, first, all_at_once }
            }),
            (any_signal(), count()).prop_map(|(signal, count)| Report::LastCall { signal, count }),
            any_errno().prop_map(Report::LeftoversUnknown),
            any_orphan().prop_map(Report::Orphan),
            any_end().prop_map(Report::CommandEnded),
            any_summary().prop_map(Report::Finished),
        ];
        let lack = prop_oneof![Just(Lack::Group), Just(Lack::Terminal), Just(Lack::Subreaper), Just(Lack::ParentDeath)];
        let others = prop_oneof![
            Just(Report::LeftoversAwaited),
            Just(Report::Paused),
            Just(Report::OrphansElsewhere),
            // Not those of the termination log: its path is the user's, and of use as a whole only.
            (lack, any_errno()).prop_map(|(what, errno)| Report::Degraded { what, errno }),
        ];
        prop_oneof![3 => about_signals, 3 => about_processes, 1 => others].prop_map(|report| {
            is_generated(&report);
            report
        })
    }

    fn any_command() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![3 => Just(b'w'), 1 => any::<u8>(), 1 => Just(b'/')], 0..200)
    }

    /// How the line begins.
    fn prefix(level: Level) -> String {
        let level = if level == Level::Warn { "warning".to_owned() } else { level.to_string().to_lowercase() };
        format!("foster[4194304]: {level}: ")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn every_line_is_one_of_fewer_than_160_characters(
            report in any_report(), command in any_command(), is_pid1: bool, warn_on_reap: bool,
        ) {
            let scene = Scene { command: &command, is_pid1, ..scene(is_pid1) };
            let line = format!("{}{}", prefix(level(&report, warn_on_reap)), of(&report, &scene));
            prop_assert!(line.chars().count() < 160, "{}: {}", line.chars().count(), line);
            prop_assert!(!line.contains(|c: char| c.is_control()), "{}", line);
        }

        /// With names that no line has to make shorter, and what is ordinary otherwise, no line loses a figure at its end.
        #[test]
        fn with_ordinary_names_and_signals_no_line_is_cut(
            report in any_report(), command in "[a-z]{1,8}", sender in "[a-z]{1,8}", number in prop_oneof![Just(15), 1..=31],
        ) {
            let mut report = report;
            make_ordinary(&mut report, Title::new(Name::new(sender.as_bytes())), signal(number));
            let scene = Scene { command: command.as_bytes(), ..scene(true) };
            let line = of(&report, &scene).to_string();
            prop_assert!(!line.contains('…'), "{}", line);
        }

        #[test]
        fn every_roll_is_one_line_of_fewer_than_160_characters(
            processes in proptest::collection::vec((1..=4_194_304, any_title(), any::<u8>()), 0..14), more in 0..4_194_304_usize,
            left in any_span(), which in 0..5_usize,
        ) {
            let states = b"RSDTtZIx";
            let stats: Vec<proc::Stat> =
                processes.iter().map(|(pid, _, state)| process(*pid, b"x", states[usize::from(*state) % states.len()])).collect();
            let title = |title: &Option<Title>| title.unwrap_or(Title::new(Name::new(b"x")));
            let alive = stats.iter().zip(&processes).map(|(process, (_, name, _))| Alive { process, title: title(name) });
            let named: Vec<Alive> = alive.take(ROLL_NAMES).collect();
            let why = [Roll::Awaited(Some(left)), Roll::Awaited(None), Roll::Killed, Roll::GivenUp, Roll::Refused][which];
            let count = if named.len() < ROLL_NAMES { named.len() } else { named.len() + more };
            let line = format!("{}{}", prefix(Level::Warn), roll(why, count, &named));
            prop_assert!(line.chars().count() < 160 && !line.contains(|c: char| c.is_control()), "{}", line);
            if let Some(first) = named.first() {
                prop_assert!(line.contains(&format!(": {} (", first.process.pid)), "one is named: {}", line);
            }
            prop_assert!(count <= 1 || !line.ends_with('…'), "how many more is said: {}", line);
        }
    }

    /// Makes a sender one that the kernel knows, with an id that a container has, and a signal one that is sent, and
    /// figures such as a machine has that was not restarted for years.
    fn make_ordinary(report: &mut Report, title: Title, signal: Signal) {
        let sender = Sender::Process { pid: 4_194_304, uid: 1_000_680_000, name: Some(title) };
        let ordinary = Delivery { signal, sender, payload: None };
        match report {
            Report::Received(delivery)
            | Report::Dropped(delivery)
            | Report::SameRequest(delivery)
            | Report::Held { delivery, .. }
            | Report::PauseEnded { delivery, .. } => *delivery = ordinary,
            Report::Forwarded { delivery, signal: to, .. } | Report::ForwardedToLeftovers { delivery, signal: to } => {
                (*delivery, *to) = (ordinary, signal);
            }
            Report::CommandEnded(end) => {
                end.ran = end.ran.min(Duration::from_secs(999 * 86_400));
                end.oom_kills = if end.oom_kills == OomKills::NONE { OomKills::NONE } else { OomKills::Rose(1) };
                // What foster or somebody at the terminal did leaves no room for it.
                if !matches!(end.cause, Cause::Unasked | Cause::Incident) {
                    end.oom_kills = OomKills::NONE;
                }
                let is_asked = matches!(end.cause, Cause::StopRequest { .. });
                if let Some(Death::Killed { signal: by, core_dumped }) = &mut end.death {
                    *by = if is_asked { Signal::KILL } else { signal };
                    *core_dumped &= by.dumps_core();
                }
                if let Cause::StopRequest { signal: asked, sender: by, took } = &mut end.cause {
                    (*asked, *by, *took) = (Signal::TERM, sender, Duration::from_millis(29_999));
                    end.oom_kills = OomKills::NONE;
                }
            }
            Report::Finished(summary) => {
                summary.reaped.orphans = summary.reaped.orphans.min(999_999_999);
                if summary.end.death.is_none() {
                    summary.outcome = Outcome::Code(137);
                }
            }
            Report::Orphan(orphan) => {
                let days = Duration::from_secs(86_399);
                (orphan.age, orphan.cpu, orphan.max_rss_kib) =
                    (orphan.age.map(|age| age.min(days)), orphan.cpu.min(days), 1 << 27);
                orphan.pid = orphan.pid.min(99_999);
                (orphan.name, orphan.oom_kills) = (Some(title.name), OomKills::NONE);
                if let Death::Killed { signal: by, core_dumped } = &mut orphan.death {
                    (*by, *core_dumped) = (signal, *core_dumped && signal.dumps_core());
                }
            }
            _ => {}
        }
    }
}
