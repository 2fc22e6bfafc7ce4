//! What foster says, and at which level. The words are in `words.rs`, the names and keys of JSON in `json.rs`, and those of
//! `--check`, `--explain` and `--watch` in `probe.rs`, `explain.rs` and `watch.rs`.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::RawFd;

use log::Level;
use nix::errno::Errno;

use crate::check::{Blind, Verdict};
use crate::config::LogConfig;
use crate::facts::{Cause, CommandEnd, Lack, OomKills, Report, Roll, Summary, Turn, Watched};
use crate::output::{self, TerminationLog};
use crate::proc::Stat;
use crate::text::OneLine;

pub mod explain;
mod json;
pub mod probe;
mod watch;
mod words;

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
                reporter.say(Report::Degraded { what: Lack::TerminationLog, errno });
            }
        }
        reporter
    }

    /// The descriptor that is to stay open until the end.
    pub fn descriptor(&self) -> Option<RawFd> {
        self.termination_log.as_ref().map(TerminationLog::descriptor)
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
        let level = level(&report, self.warn_on_reap);
        if output::says(level) {
            self.write(level, &report);
        }
    }

    #[cold]
    fn write(&self, level: Level, report: &Report) {
        let text = words::of(report, self.command);
        output::say(level, json::event(report), format_args!("{text}"), &|object| {
            json::members(object, report, self.command);
        });
    }

    /// Names those who are still alive: pid, name and state of the first few, and how many more.
    pub fn call_roll(&self, roll: Roll, alive: &[Stat]) {
        let event = match roll {
            Roll::Awaited(_) => "waiting",
            Roll::Killed => "grace_over",
            Roll::GivenUp => "given_up",
            Roll::Refused => "refused_signal",
        };
        output::say(Level::Warn, event, format_args!("{}", words::roll(roll, alive)), &|object| {
            if let Roll::Awaited(Some(left)) = roll {
                object.seconds("left_s", left);
            }
            object.plain("process_count", alive.len());
            object.list("processes", alive.iter().take(words::ROLL_NAMES), |object, process| {
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
            self.leave_word(format_args!("{}", words::of(&report, self.command)));
        }
        output::say_lines_lost();
    }

    /// Says why the command could not be started.
    pub fn not_started(&self, message: &str, exit_code: u8) {
        output::say(Level::Error, "not_started", format_args!("{message}"), &|object| {
            object.text("command", OneLine(self.command));
            object.plain("exit_code", exit_code);
        });
        self.leave_word(format_args!("{message}"));
    }

    /// Says that foster was called in a way that it does not take.
    pub fn refused(&self, message: &str) {
        output::say(Level::Error, "refused", format_args!("{message}"), &|_| {});
        self.leave_word(format_args!("{message}"));
    }

    #[cold]
    fn leave_word(&self, message: fmt::Arguments<'_>) {
        if let Some(Err(error)) = self.termination_log.as_ref().map(|log| log.append(message)) {
            self.say(Report::Degraded { what: Lack::LastWord, errno: errno_of(&error) });
        }
    }
}

/// Says that help, version or license could not be printed.
pub fn not_printed(errno: Errno) {
    let message = format_args!("what was asked for cannot be printed: {}", errno.desc());
    output::say(Level::Error, "not_printed", message, &|object| json::errno_members(object, errno));
}

/// Says why a health check (`--check`) could not look.
pub fn cannot_check(reason: Blind) {
    output::say(Level::Error, "cannot_check", format_args!("cannot look: {}", probe::blind(reason)), &|_| {});
}

/// Says how it stands with a limit of `--watch`.
#[cold]
pub fn watched(watched: Watched, turn: Turn, verdict: &Verdict) {
    let message = format_args!("{}", watch::line(watched, turn, verdict));
    output::say(watch::level(turn), watch::event(watched), message, &|object| {
        watch::members(turn, object);
        probe::members(verdict, object);
    });
}

/// Says why `--watch` cannot look, and that it does not try again.
#[cold]
pub fn cannot_watch(reason: Blind) {
    let message = format_args!("cannot look, so --watch is off: {}", probe::blind(reason));
    output::say(Level::Warn, "cannot_watch", message, &|_| {});
}

/// Says that foster ends because there is no memory left.
pub fn no_memory() {
    output::say_without_memory(Level::Error, "no_memory", format_args!("no memory is left, so foster ends"));
}

/// Warns about how foster was called.
pub fn warning(message: &str) {
    output::say(Level::Warn, "warning", format_args!("{message}"), &|_| {});
}

/// The errno behind an error of std's.
fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}

/// At which level one thing is said.
fn level(report: &Report, warn_on_reap: bool) -> Level {
    match report {
        Report::CommandEnded(CommandEnd { cause: Cause::Incident, .. }) => Level::Error,
        // A shell says 137 for the program that it ran, and only foster knows why.
        Report::CommandEnded(CommandEnd { cause: Cause::Unasked, oom_kills, .. }) if *oom_kills != OomKills::NONE => {
            Level::Warn
        }
        Report::ForwardFailed { .. }
        | Report::Degraded { .. }
        | Report::CommandStopped { .. }
        | Report::LeftoversContinued(_)
        | Report::OrphansElsewhere
        | Report::LeftoversUnknown(_) => Level::Warn,
        Report::Received(_) => Level::Trace,
        Report::Orphan(_) if warn_on_reap => Level::Warn,
        Report::Orphan(_) | Report::ForwardTooLate(_) => Level::Debug,
        // A chain of forks makes one generation after the other.
        Report::LeftoversAsked { first: false, .. } => Level::Debug,
        Report::Started { .. }
        | Report::Forwarded { .. }
        | Report::ForwardedToLeftovers { .. }
        | Report::Dropped(_)
        | Report::Held { .. }
        | Report::LeftoversAsked { .. }
        | Report::LastCall { .. }
        | Report::SameRequest(_)
        | Report::LeftoversAwaited
        | Report::Paused
        | Report::PauseEnded { .. }
        | Report::CommandEnded(_)
        | Report::Finished(_) => Level::Info,
    }
}
