//! The entry point, and start-up in order: arguments and environment in, then the command, then the loop.

use std::ffi::{CStr, CString, c_char, c_int};

use nix::sys::prctl;
use nix::unistd::getppid;

use crate::cli::{self, Parsed, Persona, Refusal};
use crate::config::{Apart, Config, Limits, LogConfig, Orphans};
use crate::exit::OWN_FAILURE;
use crate::facts::{Lack, Report};
use crate::leftovers::INIT;
use crate::policy::{Started, State};
use crate::report::explain::Explanation;
use crate::report::{self, Reporter, probe};
use crate::runtime::Foster;
use crate::signal::{Delivery, Sender, Signal, SignalSet};
use crate::spawn::{self, Failure, Inherited, Spawned};
use crate::sys::{self, Disposition, Startup};
use crate::terminal::{self, Foreground};
use crate::turns::Clock;
use crate::{check, explain, output};

/// Runs foster: what the command line asks for. Returns the exit code, or ends the process.
///
/// # Safety
/// The arguments are those that the C runtime passes to `main`. This is called first of all in a process that has a single
/// thread, that has installed no signal handler, and in which nobody owns a descriptor.
#[allow(unsafe_code)]
pub unsafe fn run(argc: c_int, argv: *const *const c_char) -> c_int {
    // First of all: from here on nothing that is sent to foster is lost, and nothing ends it.
    let mask = sys::block_all_signals();
    // SAFETY: the caller's promise, and nothing here changes the environment.
    let startup = unsafe { Startup::capture(argc, argv) };
    c_int::from(run_as_asked(&startup, mask))
}

fn run_as_asked(startup: &Startup, mask: SignalSet) -> u8 {
    let persona = startup.args.first().and_then(|name| Persona::called(name));
    let args = startup.args.get(1..).unwrap_or_default();
    match cli::parse(persona, args, &startup.environment) {
        Ok(Parsed::Run(config, warnings)) => {
            output::init(&config.log);
            for warning in &warnings {
                report::warning(warning);
            }
            if config.expand_env {
                return run_expanded(*config, &startup.environment, mask);
            }
            run_command(&config, &startup.environment, mask)
        }
        Ok(Parsed::Print(text)) => print(&text),
        Ok(Parsed::Explain(config, given, warnings)) => {
            output::init(&config.log);
            let seen = explain::look(&config, &startup.environment);
            let (given, warnings) = (&given, &warnings[..]);
            let explanation = Explanation { config: &config, given, persona, seen: &seen, warnings };
            match print(&explanation.print()) {
                0 => explanation.code(),
                failed => failed,
            }
        }
        Ok(Parsed::Check(limits, log)) => {
            output::init(&log);
            answer_probe(limits, &log)
        }
        Err(Refusal { message, log, termination_log }) => {
            output::init(&log);
            Reporter::new(b"", &log, termination_log.as_deref()).refused(&message);
            persona.map_or(OWN_FAILURE, |persona| persona.codes.own_failure)
        }
    }
}

/// `--expand-env`. Where the user is another one, `$HOME` is that user's, as in the environment that the command gets.
#[cold]
fn run_expanded(config: Config, environment: &[&CStr], mask: SignalSet) -> u8 {
    // A user who cannot be had is told when the command is to be started.
    let user = spawn::wanted_user(&config).unwrap_or(None);
    let for_command = spawn::environment_for(user.as_ref(), environment);
    let words = match cli::expand_command(config.command, &for_command) {
        Ok(words) => words,
        Err(message) => {
            let name = config.command.first().map_or(&b""[..], |name| name.to_bytes());
            let reporter = Reporter::new(name, &config.log, config.termination_log.as_deref());
            reporter.not_started(&message, config.ways.codes.own_failure);
            return config.ways.codes.own_failure;
        }
    };
    let command: Vec<&CStr> = words.iter().map(CString::as_c_str).collect();
    run_command(&Config { command: &command, ..config }, environment, mask)
}

#[cold]
fn print(text: &str) -> u8 {
    match sys::write_stdout(text.as_bytes()) {
        Ok(()) => 0,
        Err(errno) => {
            report::not_printed(errno);
            OWN_FAILURE
        }
    }
}

#[cold]
fn answer_probe(limits: Limits, log: &LogConfig) -> u8 {
    match check::look(limits) {
        Ok(verdict) => {
            // The answer is the exit code, whoever reads the text.
            let _ = sys::write_stdout(probe::verdict(&verdict, log.format).as_bytes());
            verdict.code()
        }
        Err(reason) => {
            report::cannot_check(reason);
            OWN_FAILURE
        }
    }
}

/// Runs the command to its end, and ends foster with it. Returns foster's exit code if the command could not be started.
///
/// `mask` is the signal mask that foster was started with, from before it blocked every signal.
#[inline(never)]
pub fn run_command(config: &Config, environment: &[&CStr], mask: SignalSet) -> u8 {
    // If SIGCHLD were inherited as ignored, the kernel would reap for us, and the exit status would be lost.
    let sigchld = sys::set_disposition(Signal::CHLD, Disposition::Default).unwrap_or(Disposition::Default);
    let command = config.command.first().map_or(&b""[..], |name| name.to_bytes());
    let reporter = Reporter::new(command, &config.log, config.termination_log.as_deref());
    let own = sys::pid();
    let is_pid1 = own == INIT;
    if !is_pid1 {
        adopt_orphans(config.ways.orphans, &reporter);
    }
    let orphaned = config.parent_death.and_then(|signal| watch_parent(signal, &reporter));
    if config.pause {
        return pause(config, is_pid1, reporter, orphaned);
    }
    let terminal = match config.ways.apart {
        // A shell without job control has its background jobs ignore both; the terminal is not theirs to hand on.
        Apart::Group => Foreground::own().filter(|_| !terminal::is_background_job()),
        Apart::Session => {
            sys::leave_terminal();
            None
        }
    };
    let spawned = match spawn::spawn(config, environment, Inherited { mask, sigchld }, own, terminal.as_ref()) {
        Ok(spawned) => spawned,
        Err(failure) => return not_started(config, &reporter, &failure),
    };
    drop(terminal);
    let clock = Clock::start();
    say_started(&spawned, &reporter);
    let started = Started {
        pid: spawned.pid,
        is_pid1,
        has_terminal: spawned.has_terminal,
        is_another_user: spawned.is_another_user,
    };
    Foster::new(State::new(config, started), reporter, clock, config.watch).run(orphaned)
}

fn say_started(spawned: &Spawned, reporter: &Reporter) {
    if let Some(errno) = spawned.no_group {
        reporter.say(Report::Degraded { what: Lack::Group, errno });
    }
    if let Some(errno) = spawned.no_terminal {
        reporter.say(Report::Degraded { what: Lack::Terminal, errno });
    }
    reporter.say(Report::Started { pid: spawned.pid });
}

#[cold]
fn not_started(config: &Config, reporter: &Reporter, failure: &Failure) -> u8 {
    let code = config.ways.codes.of(failure.code);
    reporter.not_started(&failure.message, code);
    code
}

/// `--pause`. LISTEN_FDS and LISTEN_PID in foster's own environment stay as they are, since nobody is there to use the
/// sockets. foster closes its copies of them, so that it does not keep them open for whoever passed them on.
#[cold]
fn pause(config: &Config, is_pid1: bool, reporter: Reporter, orphaned: Option<Delivery>) -> u8 {
    // With a command, its child finds this out before the exec, at no call more.
    if let Err(errno) = sys::can_wait_for_signals() {
        return not_started(config, &reporter, &Failure::refused("rt_sigtimedwait(2)", errno));
    }
    let clock = Clock::start();
    reporter.say(Report::Paused);
    Foster::new(State::paused(config, is_pid1), reporter, clock, config.watch).run(orphaned)
}

/// Has the orphans come to foster where it is not PID 1, or says that they do not.
fn adopt_orphans(orphans: Orphans, reporter: &Reporter) {
    match orphans {
        Orphans::Adopted => {
            if let Err(errno) = prctl::set_child_subreaper(true) {
                reporter.say(Report::Degraded { what: Lack::Subreaper, errno });
            }
        }
        Orphans::ElsewhereWithWarning if prctl::get_child_subreaper() != Ok(true) => {
            reporter.say(Report::OrphansElsewhere);
        }
        Orphans::Elsewhere | Orphans::ElsewhereWithWarning => {}
    }
}

/// Asks for a signal when the parent dies. If the parent died just before that, the kernel will not send it any more, so
/// the signal is returned as if it had.
#[cold]
fn watch_parent(signal: Signal, reporter: &Reporter) -> Option<Delivery> {
    let parent = getppid();
    if let Err(errno) = sys::set_parent_death_signal(signal) {
        reporter.say(Report::Degraded { what: Lack::ParentDeath, errno });
        return None;
    }
    (getppid() != parent).then_some(Delivery { signal, sender: Sender::Kernel, payload: None })
}
