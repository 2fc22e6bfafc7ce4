//! What foster says, at which level, in which words, and with which keys as JSON.

use std::ffi::CStr;
use std::fmt;
use std::time::Duration;

use log::Level;

use crate::config::LogConfig;
use crate::exit::{Death, Outcome};
use crate::output::{self, Object, TerminationLog};
use crate::proc::{Name, OneLine, Stat};
use crate::signal::{Delivery, Sender, Signal};
use crate::supervisor::Roll;

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
    /// What the command left was sent this stop signal, and no shell is there to continue it, so foster did.
    LeftoversContinued(Signal),
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
    CommandEnded(CommandEnd),
    /// foster ends, and this is what happened.
    Finished(Summary),
    /// There is no command, as `--pause` says.
    Paused,
    /// A signal ended the pause.
    PauseEnded {
        /// What arrived.
        delivery: Delivery,
        /// How many orphans were reaped.
        orphans: u64,
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
    /// How much the cgroup's oom_kill count rose meanwhile; looked at only if SIGKILL ended it.
    pub oom_kills: u64,
}

/// The end of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandEnd {
    /// Its process ID, free for reuse by now.
    pub pid: i32,
    /// How it ended; `None`: not even SIGKILL did that, and foster ends without it.
    pub death: Option<Death>,
    /// How long it ran.
    pub ran: Duration,
    /// Whether somebody wanted that.
    pub cause: Cause,
    /// How much the cgroup's oom_kill count rose while it ran; looked at only if SIGKILL ended it, or if it exited with
    /// another status than 0 unasked.
    pub oom_kills: u64,
}

/// All that happened, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The command's end.
    pub end: CommandEnd,
    /// What else was reaped.
    pub reaped: Reaped,
    /// The grace was over, and SIGKILL was sent to all that was left.
    pub grace_over: bool,
    /// How foster ends.
    pub outcome: Outcome,
    /// foster's own process group gets this, just before foster dies of it.
    pub group_signal: Option<Signal>,
}

/// How many processes foster reaped beside the command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Orphans that ended by themselves.
    pub orphans: u64,
    /// Leftovers that ended after they had been asked to.
    pub stopped: u64,
    /// Leftovers that foster's SIGKILL ended.
    pub killed: u64,
}

impl Summary {
    /// Whether somebody who only sees the end wants to know why: a death that nobody asked for, a failure, or a stop that
    /// took longer than the grace.
    pub fn is_abnormal(&self) -> bool {
        match self.end.cause {
            Cause::Incident => true,
            Cause::Unasked => self.outcome != Outcome::Code(0) || self.grace_over,
            Cause::StopRequest { .. } | Cause::Forwarded | Cause::Terminal => self.grace_over,
        }
    }
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
            Report::CommandEnded(CommandEnd { cause: Cause::Incident, .. }) => Level::Error,
            // A shell says 137 for the program that it ran, and only foster knows why.
            Report::CommandEnded(CommandEnd { cause: Cause::Unasked, oom_kills: 1.., .. }) => Level::Warn,
            Report::ForwardFailed { .. }
            | Report::Degraded { .. }
            | Report::Stopped { .. }
            | Report::LeftoversContinued(_)
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
            | Report::Paused
            | Report::PauseEnded { .. }
            | Report::CommandEnded(_)
            | Report::Finished(_) => Level::Info,
        }
    }

    /// What the line is about, as JSON calls it; docs/diagnostics.md explains each.
    fn event(&self) -> &'static str {
        match self {
            Report::Started { .. } => "started",
            Report::Received(_) => "received",
            Report::Forwarded { .. } => "forwarded",
            Report::ForwardTooLate(_) => "forward_too_late",
            Report::ForwardFailed { .. } => "forward_failed",
            Report::Dropped(_) => "dropped",
            Report::Held { .. } => "held",
            Report::Stopped { .. } => "command_stopped",
            Report::LeftoversAsked => "leftovers_asked",
            Report::LeftoversAwaited => "leftovers_awaited",
            Report::LeftoversContinued(_) => "leftovers_continued",
            Report::ForwardedToLeftovers { .. } => "forwarded_to_leftovers",
            Report::LeftoversUnknown(_) => "leftovers_unknown",
            Report::Orphan(_) => "orphan",
            Report::CommandEnded(_) => "command_ended",
            Report::Finished(_) => "finished",
            Report::Paused => "paused",
            Report::PauseEnded { .. } => "pause_ended",
            Report::OrphansElsewhere => "orphans_elsewhere",
            Report::Degraded { .. } => "degraded",
        }
    }

    /// The line's facts as JSON has them.
    fn members(&self, object: &mut Object<'_>, command: &[u8]) {
        if !matches!(
            self,
            Report::Received(_)
                | Report::Orphan(_)
                | Report::Degraded { .. }
                | Report::Paused
                | Report::PauseEnded { .. }
                | Report::OrphansElsewhere
        ) {
            object.text("command", OneLine(command));
        }
        match self {
            Report::Started { pid } => object.plain("pid", pid),
            Report::Received(delivery) | Report::Dropped(delivery) => delivery_members(object, *delivery),
            Report::Forwarded { delivery, signal, group } => {
                delivery_members(object, *delivery);
                object.text("forwarded_as", signal);
                object.plain("to_group", group);
            }
            Report::ForwardedToLeftovers { delivery, signal } => {
                delivery_members(object, *delivery);
                object.text("forwarded_as", signal);
            }
            Report::ForwardTooLate(signal) => object.text("signal", signal),
            Report::ForwardFailed { signal, errno } => {
                object.text("signal", signal);
                errno_members(object, *errno);
            }
            Report::Held { delivery, delay } => {
                delivery_members(object, *delivery);
                object.seconds("delay_s", *delay);
            }
            Report::Stopped { signal, continued } => {
                object.text("signal", signal);
                object.plain("continued", continued);
            }
            Report::LeftoversContinued(signal) => object.text("signal", signal),
            Report::LeftoversAsked | Report::LeftoversAwaited | Report::Paused | Report::OrphansElsewhere => {}
            Report::PauseEnded { delivery, orphans } => {
                delivery_members(object, *delivery);
                object.plain("orphans_reaped", orphans);
            }
            Report::LeftoversUnknown(errno) | Report::Degraded { errno, .. } => errno_members(object, *errno),
            Report::Orphan(orphan) => orphan.members(object),
            Report::CommandEnded(end) => end.members(object),
            Report::Finished(summary) => {
                summary.end.members(object);
                object.plain("orphans_reaped", summary.reaped.orphans);
                object.plain("leftovers_stopped", summary.reaped.stopped);
                object.plain("leftovers_killed", summary.reaped.killed);
                object.plain("grace_over", summary.grace_over);
                match summary.outcome {
                    Outcome::Code(code) => object.plain("exit_code", code),
                    Outcome::Signal(signal) => object.text("exit_signal", signal),
                }
            }
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
            Report::LeftoversContinued(signal) => {
                write!(f, "what command {command} left behind got {signal}; no shell could continue it, so foster did")
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
                let why = match errno {
                    nix::Error::ESRCH => "it is another PID namespace's",
                    other => other.desc(),
                };
                write!(f, "what command {command} left behind cannot be found and stays alive: /proc: {why}")
            }
            Report::Orphan(orphan) => write!(f, "{orphan}"),
            Report::CommandEnded(end) => {
                write!(f, "command {command} (pid {}) {}, after {}", end.pid, end.how(), Span(end.ran))?;
                end.write_why(f)
            }
            Report::Finished(summary) => {
                let Reaped { orphans, stopped, killed } = summary.reaped;
                write!(f, "finished: command {command} {}", summary.end.how())?;
                summary.end.write_why(f)?;
                write!(f, "; orphans reaped: {orphans}; leftovers stopped: {stopped}, killed: {killed}; ")?;
                match summary.outcome {
                    Outcome::Code(code) => write!(f, "exit code {code}"),
                    Outcome::Signal(signal) => write!(f, "foster ends by {signal} too"),
                }
            }
            Report::Paused => f.write_str("no command, as --pause says: reaping until SIGTERM or SIGINT"),
            Report::PauseEnded { delivery, orphans } => {
                write!(
                    f,
                    "finished: {} {} ended the pause; orphans reaped: {orphans}",
                    delivery.signal, delivery.sender
                )
            }
            Report::OrphansElsewhere => f.write_str(
                "not PID 1 and no subreaper, so orphans go to another process; -s or FOSTER_SUBREAPER=1 makes it one",
            ),
            Report::Degraded { what, errno } => write!(f, "{what}: {}", errno.desc()),
        }
    }
}

impl CommandEnd {
    fn how(&self) -> impl fmt::Display {
        fmt::from_fn(|f| match self.death {
            Some(death) => write!(f, "{death}"),
            None => f.write_str("did not end"),
        })
    }

    fn write_why(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Cause::Unasked => {}
            Cause::StopRequest { signal, sender, took } => {
                write!(f, ", {} after {signal} {sender} had asked it to stop", Span(took))?;
            }
            Cause::Forwarded => f.write_str(", by a signal that foster forwarded")?,
            Cause::Terminal => f.write_str(", from the terminal")?,
            Cause::Incident => f.write_str("; nobody asked for this end: no such signal came through foster")?,
        }
        write_oom_kills(f, self.oom_kills)
    }
}

/// A fact and not a verdict: another process of the cgroup may be the one that the OOM killer took.
fn write_oom_kills(f: &mut fmt::Formatter<'_>, oom_kills: u64) -> fmt::Result {
    match oom_kills {
        0 => Ok(()),
        count => write!(f, "; the cgroup's oom_kill count rose by {count} meanwhile: out of memory"),
    }
}

impl Orphan {
    fn members(&self, object: &mut Object<'_>) {
        object.plain("pid", self.pid);
        if let Some(name) = self.name {
            object.text("name", name);
        }
        death_members(object, self.death);
        if let Some(age) = self.age {
            object.seconds("age_s", age);
        }
        object.seconds("cpu_s", self.cpu);
        object.plain("max_rss_kib", self.max_rss_kib);
        object.plain("oom_kills", self.oom_kills);
    }
}

impl CommandEnd {
    fn members(&self, object: &mut Object<'_>) {
        object.plain("pid", self.pid);
        match self.death {
            Some(death) => death_members(object, death),
            None => object.plain("did_not_end", true),
        }
        object.seconds("ran_s", self.ran);
        object.text(
            "cause",
            match self.cause {
                Cause::Unasked => "unasked",
                Cause::StopRequest { .. } => "stop_request",
                Cause::Forwarded => "forwarded_signal",
                Cause::Terminal => "terminal",
                Cause::Incident => "incident",
            },
        );
        if let Cause::StopRequest { signal, sender, took } = self.cause {
            object.text("stop_signal", signal);
            sender_members(object, sender);
            object.seconds("stop_took_s", took);
        }
        object.plain("oom_kills", self.oom_kills);
    }
}

fn death_members(object: &mut Object<'_>, death: Death) {
    match death {
        Death::Exited(status) => object.plain("exit_status", status),
        Death::Killed { signal, core_dumped } => {
            object.text("signal", signal);
            object.plain("signal_number", signal.number());
            object.plain("core_dumped", core_dumped);
        }
    }
}

fn delivery_members(object: &mut Object<'_>, delivery: Delivery) {
    object.text("signal", delivery.signal);
    sender_members(object, delivery.sender);
}

fn sender_members(object: &mut Object<'_>, sender: Sender) {
    object.text(
        "sender",
        match sender {
            Sender::Process { .. } => "process",
            Sender::Outside => "outside",
            Sender::Kernel => "kernel",
            Sender::Myself => "foster",
        },
    );
    if let Sender::Process { pid, uid, name } = sender {
        object.plain("sender_pid", pid);
        object.plain("sender_uid", uid);
        if let Some(name) = name {
            object.text("sender_name", name);
        }
    }
}

fn errno_members(object: &mut Object<'_>, errno: nix::Error) {
    object.plain("errno", errno as i32);
    object.text("error", errno.desc());
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
        write!(f, ", CPU {}, max RSS {} KiB", Span(self.cpu), self.max_rss_kib)?;
        write_oom_kills(f, self.oom_kills)
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
    termination_log: Option<TerminationLog>,
}

impl<'a> Reporter<'a> {
    /// A reporter that calls the command by this name, and leaves the reason of an abnormal end at this path. If that
    /// cannot be written, it says so.
    pub fn new(command: &'a [u8], log: &LogConfig, termination_log: Option<&CStr>) -> Reporter<'a> {
        let mut reporter = Reporter { command, warn_on_reap: log.warn_on_reap, termination_log: None };
        match termination_log.map(TerminationLog::at).transpose() {
            Ok(log) => reporter.termination_log = log,
            Err(error) => {
                let errno = errno_of(&error);
                reporter.say(Report::Degraded { what: "the termination log cannot be written", errno });
            }
        }
        reporter
    }

    /// Whether the line about an orphan will be said: only then is it worth reading /proc for it.
    pub fn describes_orphans(&self) -> bool {
        output::says(if self.warn_on_reap { Level::Warn } else { Level::Debug })
    }

    /// Whether senders of signals are named: only then is it worth reading /proc for them.
    pub fn names_senders(&self) -> bool {
        output::says(Level::Info) || self.termination_log.is_some()
    }

    /// Whether a roll call will be heard: only then is it worth reading /proc for it.
    pub fn calls_rolls(&self) -> bool {
        output::says(Level::Warn)
    }

    /// Says one thing, if the level asks for it.
    pub fn say(&self, report: Report) {
        let level = report.level(self.warn_on_reap);
        if output::says(level) {
            self.write(level, &report);
        }
    }

    #[cold]
    fn write(&self, level: Level, report: &Report) {
        let text = fmt::from_fn(|f| report.write(f, self.command));
        output::say(level, report.event(), format_args!("{text}"), |object| report.members(object, self.command));
    }

    /// Names those who are still alive: pid, name and state of the first few, and how many more.
    pub fn call_roll(&self, roll: Roll, alive: &[Stat]) {
        let event = match roll {
            Roll::Awaited(_) => "waiting",
            Roll::Killed => "grace_over",
            Roll::GivenUp => "given_up",
        };
        output::say(Level::Warn, event, format_args!("{}", in_words(roll, alive)), |object| {
            if let Roll::Awaited(Some(left)) = roll {
                object.seconds("left_s", left);
            }
            object.plain("process_count", alive.len());
            object.list("processes", alive.iter().take(ROLL_NAMES), |object, process| {
                object.plain("pid", process.pid);
                object.text("name", process.name);
                object.text("state", process.state_in_words());
            });
        });
    }

    /// foster's last words: the summary, the reason of an abnormal end for those who come later, and what was lost.
    pub fn finish(&self, summary: Summary) {
        let report = Report::Finished(summary);
        self.say(report);
        if summary.is_abnormal() {
            self.leave_word(format_args!("{}", fmt::from_fn(|f| report.write(f, self.command))));
        }
        output::say_lines_lost();
    }

    /// Says why the command could not be started.
    pub fn not_started(&self, message: &str, exit_code: u8) {
        output::say(Level::Error, "not_started", format_args!("{message}"), |object| {
            object.text("command", OneLine(self.command));
            object.plain("exit_code", exit_code);
        });
        self.leave_word(format_args!("{message}"));
    }

    /// Says that foster was called in a way that it does not take.
    pub fn refused(&self, message: &str) {
        output::say(Level::Error, "refused", format_args!("{message}"), |_| {});
        self.leave_word(format_args!("{message}"));
    }

    #[cold]
    fn leave_word(&self, message: fmt::Arguments<'_>) {
        if let Some(Err(error)) = self.termination_log.as_ref().map(|log| log.append(message)) {
            self.say(Report::Degraded { what: "the termination log could not be written", errno: errno_of(&error) });
        }
    }
}

fn in_words(roll: Roll, alive: &[Stat]) -> impl fmt::Display {
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
        }
        match alive.len() {
            0 => f.write_str("processes that /proc does not show"),
            1 => write!(f, "1 process: {names}"),
            count => write!(f, "{count} processes: {names}"),
        }
    })
}

/// Says that help, version or license could not be printed.
pub fn not_printed(errno: nix::Error) {
    let message = format_args!("what was asked for cannot be printed: {}", errno.desc());
    output::say(Level::Error, "not_printed", message, |object| errno_members(object, errno));
}

/// Says why a health check (`--check`) could not look.
pub fn cannot_check(reason: &str) {
    output::say(Level::Error, "cannot_check", format_args!("cannot look: {reason}"), |_| {});
}

/// Says that foster ends because there is no memory left.
pub fn no_memory() {
    output::say_without_memory(Level::Error, "no_memory", format_args!("no memory is left, so foster ends"));
}

/// Warns about how foster was called.
pub fn warning(message: &str) {
    output::say(Level::Warn, "warning", format_args!("{message}"), |_| {});
}

/// The errno behind an error of std's.
pub fn errno_of(error: &std::io::Error) -> nix::Error {
    nix::Error::from_raw(error.raw_os_error().unwrap_or_default())
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
            oom_kills: 0,
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
            text(Report::Orphan(Orphan { oom_kills: 2, ..orphan }))
                .ends_with("KiB; the cgroup's oom_kill count rose by 2 meanwhile: out of memory")
        );
    }

    #[test]
    fn an_orphan_is_said_at_debug_and_never_higher_but_for_the_flag() {
        for death in [Death::Exited(0), Death::Exited(1), Death::Killed { signal: signal(11), core_dumped: true }] {
            let cpu = Duration::ZERO;
            let report =
                Report::Orphan(Orphan { pid: 1, death, name: None, age: None, cpu, max_rss_kib: 0, oom_kills: 1 });
            assert_eq!(report.level(false), Level::Debug);
            assert_eq!(report.level(true), Level::Warn);
        }
    }

    #[test]
    fn the_commands_end_is_an_error_only_as_an_incident() {
        let death = Death::Killed { signal: signal(11), core_dumped: true };
        let ran = Duration::from_secs(7262);
        let ended = |cause| Report::CommandEnded(CommandEnd { pid: 7, death: Some(death), ran, cause, oom_kills: 0 });
        assert_eq!(ended(Cause::Incident).level(false), Level::Error);
        let asked =
            Cause::StopRequest { signal: Signal::TERM, sender: Sender::Outside, took: Duration::from_millis(1200) };
        for cause in [Cause::Unasked, Cause::Forwarded, Cause::Terminal, asked] {
            assert_eq!(ended(cause).level(true), Level::Info);
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
        let end = CommandEnd { pid: 7, death: Some(death), ran: Duration::from_secs(3), cause, oom_kills: 0 };
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
        let end = CommandEnd { pid: 7, death: None, ran: Duration::from_secs(12), cause: asked, oom_kills: 0 };
        let outcome = Outcome::Code(137);
        let summary = Summary { end, reaped: Reaped::default(), grace_over: true, outcome, group_signal: None };
        assert_eq!(
            text(Report::Finished(summary)),
            "finished: command /usr/bin/app\\n did not end, 11.000 s after SIGTERM from outside this PID namespace had \
             asked it to stop; orphans reaped: 0; leftovers stopped: 0, killed: 0; exit code 137"
        );
        assert!(summary.is_abnormal(), "the termination log has it too");
        let mut line = output::Line::new();
        line.object(|object| Report::Finished(summary).members(object, b"app"));
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
        assert_eq!((ended(0).level(false), ended(1).level(false)), (Level::Info, Level::Warn));
    }
}
