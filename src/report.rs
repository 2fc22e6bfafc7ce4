//! What foster says, at which level and in which words; and a stderr that can neither block nor kill it.

use std::fmt::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::config::LogConfig;
use crate::exit::Death;
use crate::proc::{Name, OneLine, Stat};
use crate::signal::{Delivery, Sender, Signal};
use crate::supervisor::Roll;
use crate::sys;

/// Something worth saying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The command was executed.
    Started {
        /// Its process ID.
        pid: i32,
    },
    /// A signal arrived, whatever becomes of it.
    Received(Delivery),
    /// A signal went where it should.
    Forwarded {
        /// What arrived.
        delivery: Delivery,
        /// What was sent on.
        signal: Signal,
        /// To the command's whole group.
        group: bool,
    },
    /// The receiver had just ended.
    ForwardTooLate(Signal),
    /// The kernel refused, for example because the command now runs as another user.
    ForwardFailed {
        /// What could not be sent.
        signal: Signal,
        /// kill(2)'s errno.
        errno: nix::Error,
    },
    /// `-r SIGNAL:0` held it back.
    Dropped(Delivery),
    /// `--stop-delay` holds a stop request for so long.
    Held {
        /// The request.
        delivery: Delivery,
        /// For how long, at most.
        delay: Duration,
    },
    /// The command was stopped, and no shell is there to continue it.
    Stopped {
        /// By this signal.
        signal: Signal,
        /// foster continued it.
        continued: bool,
    },
    /// The command ended, and what it left is asked to end too.
    LeftoversAsked,
    /// The command ended, and foster stays for what it left (`--wait`).
    LeftoversAwaited,
    /// A signal went to what the command left.
    ForwardedToLeftovers {
        /// What arrived.
        delivery: Delivery,
        /// What was sent on.
        signal: Signal,
    },
    /// The leftovers cannot be found, so they are left alone.
    LeftoversUnknown(nix::Error),
    /// An orphan was reaped.
    Orphan(Orphan),
    /// The command is gone.
    CommandEnded {
        /// Its process ID.
        pid: i32,
        /// How it ended.
        death: Death,
        /// How long it ran.
        ran: Duration,
        /// Whether somebody wanted that.
        cause: Cause,
    },
    /// A persona whose peer is no subreaper runs as something else than PID 1.
    OrphansElsewhere,
    /// Something that foster set up for the command could not be had; the command runs all the same.
    Degraded {
        /// What did not work, and what follows from it.
        what: &'static str,
        /// The system call's errno.
        errno: nix::Error,
    },
}

/// A reaped orphan with everything that is gone once it is reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Its process ID.
    pub pid: i32,
    /// How it ended.
    pub death: Death,
    /// Its name, where /proc could be read.
    pub name: Option<Name>,
    /// How long it lived, where /proc could be read.
    pub age: Option<Duration>,
    /// CPU time of it and of the children that it waited for, user and system (getrusage(2), RUSAGE_CHILDREN).
    pub cpu: Duration,
    /// Its largest resident set, or that of its largest child, in KiB.
    pub max_rss_kib: i64,
}

/// Why the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It ended by itself.
    Unasked,
    /// foster was asked to stop.
    StopRequest {
        /// With this signal.
        signal: Signal,
        /// By this process.
        sender: Sender,
        /// This long before the end.
        took: Duration,
    },
    /// A signal that foster forwarded ended it.
    Forwarded,
    /// The terminal's Ctrl-C, Ctrl-\ or hang-up.
    Terminal,
    /// A signal that nobody sent through foster: a crash, the OOM killer, a stray kill.
    Incident,
}

impl Report {
    fn level(&self, warn_on_reap: bool) -> Level {
        match self {
            Report::CommandEnded { cause: Cause::Incident, .. } => Level::Error,
            Report::ForwardFailed { .. }
            | Report::Degraded { .. }
            | Report::Stopped { .. }
            | Report::OrphansElsewhere
            | Report::LeftoversUnknown(_) => Level::Warn,
            Report::Received(_) => Level::Trace,
            Report::Orphan(_) if warn_on_reap => Level::Warn,
            Report::Orphan(_) | Report::ForwardTooLate(_) => Level::Debug,
            Report::Started { .. }
            | Report::Forwarded { .. }
            | Report::ForwardedToLeftovers { .. }
            | Report::Dropped(_)
            | Report::Held { .. }
            | Report::LeftoversAsked
            | Report::LeftoversAwaited
            | Report::CommandEnded { .. } => Level::Info,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, command: &[u8]) -> fmt::Result {
        let command = OneLine(command);
        match self {
            Report::Started { pid } => write!(f, "started command {command} as pid {pid}"),
            Report::Received(delivery) => write!(f, "received {} {}", delivery.signal, delivery.sender),
            Report::Forwarded { delivery, signal, group } => {
                let to = if *group { "the process group of command" } else { "command" };
                match *signal == delivery.signal {
                    true => write!(f, "{signal} {} forwarded to {to} {command}", delivery.sender),
                    false => {
                        write!(f, "{} {} forwarded as {signal} to {to} {command}", delivery.signal, delivery.sender)
                    }
                }
            }
            Report::ForwardTooLate(signal) => write!(f, "{signal} not forwarded: command {command} has just ended"),
            Report::ForwardFailed { signal, errno } => {
                write!(f, "{signal} could not be forwarded to command {command}: {}", errno.desc())
            }
            Report::Dropped(delivery) => {
                write!(f, "{} {} dropped, as --rewrite says", delivery.signal, delivery.sender)
            }
            Report::Held { delivery, delay } => {
                write!(f, "{} {} held for {}, as --stop-delay says", delivery.signal, delivery.sender, Span(*delay))
            }
            Report::Stopped { signal, continued: true } => {
                write!(f, "command {command} was stopped by {signal}; no shell could continue it, so foster did")
            }
            Report::Stopped { signal, continued: false } => {
                write!(f, "command {command} was stopped by {signal} and stays so until somebody sends it SIGCONT")
            }
            Report::LeftoversAsked => {
                write!(f, "command {command} has ended and left processes behind; SIGTERM sent to all of them")
            }
            Report::LeftoversAwaited => {
                write!(f, "command {command} has ended and left processes behind; waiting for them, as --wait says")
            }
            Report::ForwardedToLeftovers { delivery, signal } => match *signal == delivery.signal {
                true => write!(f, "{signal} {} forwarded to what command {command} left behind", delivery.sender),
                false => write!(
                    f,
                    "{} {} forwarded as {signal} to what command {command} left behind",
                    delivery.signal, delivery.sender
                ),
            },
            Report::LeftoversUnknown(errno) => {
                write!(f, "what command {command} left behind cannot be found and stays alive: /proc: {}", errno.desc())
            }
            Report::Orphan(orphan) => write!(f, "{orphan}"),
            Report::CommandEnded { pid, death, ran, cause } => {
                write!(f, "command {command} (pid {pid}) {death}, after {}", Span(*ran))?;
                match cause {
                    Cause::Unasked => Ok(()),
                    Cause::StopRequest { signal, sender, took } => {
                        write!(f, ", {} after {signal} {sender}", Span(*took))
                    }
                    Cause::Forwarded => f.write_str(", by a signal that foster forwarded"),
                    Cause::Terminal => f.write_str(", from the terminal"),
                    Cause::Incident => {
                        f.write_str("; no such signal came through foster, so nobody asked for this end")
                    }
                }
            }
            Report::OrphansElsewhere => f.write_str(
                "not PID 1 and no subreaper, so orphans go to another process; -s or FOSTER_SUBREAPER=1 makes it one",
            ),
            Report::Degraded { what, errno } => write!(f, "{what}: {}", errno.desc()),
        }
    }
}

impl fmt::Display for Orphan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reaped orphan {}", self.pid)?;
        if let Some(name) = self.name {
            write!(f, " ({name})")?;
        }
        write!(f, ": {}", self.death)?;
        if let Some(age) = self.age {
            write!(f, ", age {}", Span(age))?;
        }
        write!(f, ", CPU {}, max RSS {} KiB", Span(self.cpu), self.max_rss_kib)
    }
}

/// A span of time as people read it: `0.250 s`, `2 min 5 s`, `3 h 12 min`, `4 d 1 h`.
struct Span(Duration);

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

/// How many of those alive are named in one line.
const ROLL_NAMES: usize = 10;

/// Says things about one command.
pub struct Reporter<'a> {
    command: &'a [u8],
    warn_on_reap: bool,
}

impl<'a> Reporter<'a> {
    /// A reporter that calls the command by this name.
    pub fn new(command: &'a [u8], warn_on_reap: bool) -> Reporter<'a> {
        Reporter { command, warn_on_reap }
    }

    /// Whether the line about an orphan will be said: only then is it worth reading /proc for it.
    pub fn describes_orphans(&self) -> bool {
        let level = if self.warn_on_reap { Level::Warn } else { Level::Debug };
        log::log_enabled!(target: TARGET, level)
    }

    /// Whether senders of signals are named: only then is it worth reading /proc for them.
    pub fn names_senders(&self) -> bool {
        log::log_enabled!(target: TARGET, Level::Info)
    }

    /// Names those who are still alive: pid, name and state of the first few, and how many more.
    pub fn call_roll(&self, roll: Roll, alive: &[Stat]) {
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
        let count = fmt::from_fn(|f| match alive.len() {
            0 => f.write_str("processes that /proc does not show"),
            1 => f.write_str("1 process: "),
            count => write!(f, "{count} processes: "),
        });
        match roll {
            Roll::Awaited(Some(left)) => {
                log::warn!(target: TARGET, "waiting {} more before SIGKILL for {count}{names}", Span(left));
            }
            Roll::Awaited(None) => {
                log::warn!(target: TARGET, "waiting, without a limit of foster's own, for {count}{names}");
            }
            Roll::Killed => log::warn!(target: TARGET, "the grace is over, SIGKILL to {count}{names}"),
            Roll::GivenUp => log::warn!(target: TARGET, "SIGKILL did not end {count}{names}"),
        }
    }

    /// Whether a roll call will be heard: only then is it worth reading /proc for it.
    pub fn calls_rolls(&self) -> bool {
        log::log_enabled!(target: TARGET, Level::Warn)
    }

    /// Says one thing, if the level asks for it.
    pub fn say(&self, report: Report) {
        let level = report.level(self.warn_on_reap);
        let command = self.command;
        log::log!(target: TARGET, level, "{}", fmt::from_fn(|f| report.write(f, command)));
    }
}

/// The target of every line, so that `FOSTER_LOG=foster=debug` and `FOSTER_LOG=debug` both work.
const TARGET: &str = "foster";

/// The one logger. Not env_logger's, which blocks when stderr does.
struct Logger {
    filter: OnceLock<env_filter::Filter>,
    lines_lost: AtomicU64,
}

static LOGGER: Logger = Logger { filter: OnceLock::new(), lines_lost: AtomicU64::new(0) };

/// Starts logging to stderr at the level asked for: `-v` wins over FOSTER_LOG, that over the default, warn.
pub fn init(config: &LogConfig) {
    let level = match (&config.filter, config.verbosity) {
        (Some(filter), 0) => {
            let mut builder = env_filter::Builder::new();
            // It parses: the command line was refused otherwise.
            builder
                .try_parse(filter)
                .map_or(LevelFilter::Warn, |builder| LOGGER.filter.get_or_init(|| builder.build()).filter())
        }
        (_, 0) => LevelFilter::Warn,
        (_, 1) => LevelFilter::Info,
        (_, 2) => LevelFilter::Debug,
        (_, _) => LevelFilter::Trace,
    };
    // An error only says that a logger is there already, which a second call would find.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(level);
}

/// Says a failure of foster's own, or of the exec, at error level.
pub fn failure(message: fmt::Arguments<'_>) {
    log::error!(target: TARGET, "{message}");
}

/// Warns about how foster was called.
pub fn warning(message: &str) {
    log::warn!(target: TARGET, "{message}");
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.get().is_none_or(|filter| filter.enabled(metadata))
    }

    fn log(&self, record: &Record<'_>) {
        if self.filter.get().is_some_and(|filter| !filter.matches(record)) {
            return;
        }
        let lost = self.lines_lost.load(Ordering::Relaxed);
        if lost > 0 {
            let said = write_line(Level::Warn, format_args!("lines lost because stderr was full or broken: {lost}"));
            if said.is_err() {
                self.lines_lost.store(lost.saturating_add(1), Ordering::Relaxed);
                return;
            }
            self.lines_lost.store(0, Ordering::Relaxed);
        }
        if write_line(record.level(), *record.args()).is_err() {
            self.lines_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

fn write_line(level: Level, message: fmt::Arguments<'_>) -> nix::Result<()> {
    let mut line = Line::new();
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    // Writing to a Line never fails: what does not fit is cut.
    let _ = write!(line, "foster[{}]: {level}: {message}", std::process::id());
    sys::write_stderr(line.finish())
}

/// One line of at most PIPE_BUF bytes, which pipe(7) takes whole or not at all. On the stack: saying something must
/// work when there is no memory left.
struct Line {
    bytes: [u8; libc::PIPE_BUF],
    len: usize,
}

impl Line {
    fn new() -> Line {
        Line { bytes: [0; libc::PIPE_BUF], len: 0 }
    }

    fn finish(&mut self) -> &[u8] {
        let end = self.len.min(self.bytes.len().saturating_sub(1));
        if let Some(newline) = self.bytes.get_mut(end) {
            *newline = b'\n';
        }
        self.bytes.get(..=end).unwrap_or_default()
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let taken = text.floor_char_boundary(room.len());
        for (to, from) in room.iter_mut().zip(text.as_bytes().iter().take(taken)) {
            *to = *from;
        }
        self.len = self.len.saturating_add(taken);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(report: Report) -> String {
        fmt::from_fn(|f| report.write(f, b"/usr/bin/app\n")).to_string()
    }

    fn signal(number: i32) -> Signal {
        Signal::new(number).expect("a signal")
    }

    fn from(sender: Sender) -> Delivery {
        Delivery { signal: Signal::TERM, sender, payload: None }
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
    }

    #[test]
    fn an_orphan_is_said_at_debug_and_never_higher_but_for_the_flag() {
        for death in [Death::Exited(0), Death::Exited(1), Death::Killed { signal: signal(11), core_dumped: true }] {
            let report =
                Report::Orphan(Orphan { pid: 1, death, name: None, age: None, cpu: Duration::ZERO, max_rss_kib: 0 });
            assert_eq!(report.level(false), Level::Debug);
            assert_eq!(report.level(true), Level::Warn);
        }
    }

    #[test]
    fn the_commands_end_is_an_error_only_as_an_incident() {
        let ended = |cause| Report::CommandEnded {
            pid: 7,
            death: Death::Killed { signal: signal(11), core_dumped: true },
            ran: Duration::from_secs(7262),
            cause,
        };
        assert_eq!(ended(Cause::Incident).level(false), Level::Error);
        let asked =
            Cause::StopRequest { signal: Signal::TERM, sender: Sender::Outside, took: Duration::from_millis(1200) };
        for cause in [Cause::Unasked, Cause::Forwarded, Cause::Terminal, asked] {
            assert_eq!(ended(cause).level(true), Level::Info);
        }
        assert_eq!(
            text(ended(Cause::Incident)),
            "command /usr/bin/app\\n (pid 7) was killed by SIGSEGV (signal 11), core dumped, after 2 h 1 min; \
             no such signal came through foster, so nobody asked for this end"
        );
        assert_eq!(
            text(ended(asked)),
            "command /usr/bin/app\\n (pid 7) was killed by SIGSEGV (signal 11), core dumped, after 2 h 1 min, \
             1.200 s after SIGTERM from outside this PID namespace"
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

    #[test]
    fn a_line_is_cut_at_what_a_pipe_takes_whole_and_always_ends() {
        for (text, expected) in [("", 1), ("ab", 3), (&"x".repeat(4095), 4096), (&"x".repeat(9000), 4096)] {
            let mut line = Line::new();
            write!(line, "{text}").expect("never fails");
            write!(line, "").expect("never fails");
            assert_eq!(line.finish().len(), expected);
            assert_eq!(line.finish().last(), Some(&b'\n'));
        }
        let mut line = Line::new();
        write!(line, "{}é", "x".repeat(4095)).expect("never fails");
        assert!(std::str::from_utf8(line.finish()).is_ok(), "cut between characters");
    }
}
