//! What foster was asked to do, resolved once and never changed.

use std::ffi::CStr;

use crate::exit::OkCodes;
use crate::signal::{Rewrites, Signal};

/// The resolved command line and environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config<'a> {
    /// The command and its arguments: a slice of what foster itself was given, so it is passed on byte for byte.
    pub command: &'a [&'a CStr],
    /// Signal the command's whole process group (`-g`).
    pub group: bool,
    /// What is forwarded for what (`-r`).
    pub rewrites: Rewrites,
    /// Exit codes to report as 0 (`-e`).
    pub ok_codes: OkCodes,
    /// The signal to get when foster's own parent dies (`-p`).
    pub parent_death: Option<Signal>,
    /// What is said, and how loudly.
    pub log: LogConfig,
}

/// What is said, and how loudly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// How often `-v` was given, or FOSTER_VERBOSE: 0 warn, 1 info, 2 debug, more trace.
    pub verbosity: u8,
    /// FOSTER_LOG in env_logger's filter syntax, already checked; `-v` wins over it.
    pub filter: Option<String>,
    /// Report reaped orphans at warn instead of debug (`-w`).
    pub warn_on_reap: bool,
}
