//! Arguments and environment in, exit code out. A C `main`: Rust's own start-up would set SIGPIPE to ignored, open
//! /dev/null on descriptors that are closed and install a SIGSEGV handler, and the command is to have none of that.
#![no_main]

#[cfg(all(panic = "abort", target_env = "musl", not(debug_assertions)))]
#[allow(unsafe_code, non_snake_case)]
mod no_unwinder;

use std::ffi::{c_char, c_int};

use foster::check::Limits;
use foster::cli::{self, Parsed, Persona, Refusal};
use foster::config::LogConfig;
use foster::exit::OWN_FAILURE;
use foster::report::Reporter;
use foster::signal::SignalSet;
use foster::sys::{self, Arena, Exhausted, Startup};
use foster::{check, output, report, runtime};

#[global_allocator]
static MEMORY: Arena<NoMemory> = Arena::new();

struct NoMemory;

impl Exhausted for NoMemory {
    fn exhausted() -> ! {
        report::no_memory();
        sys::exit(OWN_FAILURE)
    }
}

/// Called by the C runtime.
///
/// # Safety
/// The arguments are those that the C runtime passes to `main`.
#[unsafe(no_mangle)]
#[allow(unsafe_code)]
pub unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // First of all: from here on nothing that is sent to foster is lost, and nothing ends it.
    let mask = sys::block_all_signals();
    // SAFETY: this is main, with main's arguments, and nothing here changes the environment.
    let startup = unsafe { Startup::capture(argc, argv) };
    c_int::from(run(&startup, mask))
}

fn run(startup: &Startup, mask: SignalSet) -> u8 {
    let persona = startup.args.first().and_then(|name| Persona::called(name));
    let args = startup.args.get(1..).unwrap_or_default();
    match cli::parse(persona, args, &startup.environment) {
        Ok(Parsed::Run(config, warnings)) => {
            output::init(&config.log);
            warnings.iter().for_each(|warning| report::warning(warning));
            runtime::run(&config, &startup.environment, mask)
        }
        Ok(Parsed::Print(text)) => match sys::write_stdout(text.as_bytes()) {
            Ok(()) => 0,
            Err(errno) => {
                report::not_printed(errno);
                OWN_FAILURE
            }
        },
        Ok(Parsed::Check(limits, log)) => {
            output::init(&log);
            probe(limits, &log)
        }
        Err(Refusal { message, log, termination_log }) => {
            output::init(&log);
            Reporter::new(b"", &log, termination_log.as_deref()).refused(&message);
            persona.map_or(OWN_FAILURE, |persona| persona.codes.own_failure)
        }
    }
}

#[cold]
fn probe(limits: Limits, log: &LogConfig) -> u8 {
    match check::look() {
        Ok(seen) => {
            let verdict = check::judge(seen, limits);
            // The answer is the exit code, whoever reads the text.
            let _ = sys::write_stdout(verdict.text(log.format).as_bytes());
            verdict.code()
        }
        Err(reason) => {
            report::cannot_check(&reason);
            OWN_FAILURE
        }
    }
}
