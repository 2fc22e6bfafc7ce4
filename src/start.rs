//! The entry point: arguments and environment in, exit code out.

use std::ffi::{c_char, c_int};

use crate::check;
use crate::cli::{self, Parsed, Persona, Refusal};
use crate::config::{Limits, LogConfig};
use crate::exit::OWN_FAILURE;
use crate::report::{self, Reporter, probe};
use crate::signal::SignalSet;
use crate::sys::{self, Startup};
use crate::{output, runtime};

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
            runtime::run(&config, &startup.environment, mask)
        }
        Ok(Parsed::Print(text)) => print(&text),
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
    match check::look() {
        Ok(seen) => {
            let verdict = check::judge(seen, limits);
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
