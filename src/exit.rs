//! How a process ended: the kernel's wait status in words, and the exit code that foster makes of it.

use std::fmt;

use crate::signal::Signal;

/// A failure of foster's own: a bad option, a fork that was refused, no memory (the numbers of env(1), nohup(1), timeout(1)).
pub const OWN_FAILURE: u8 = 125;
/// The command was found but could not be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
pub const NOT_FOUND: u8 = 127;

/// The exit codes for failures to start the command: foster's own, or those of the init that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitCodes {
    /// For [`OWN_FAILURE`].
    pub own_failure: u8,
    /// For [`NOT_EXECUTABLE`].
    pub not_executable: u8,
    /// For [`NOT_FOUND`].
    pub not_found: u8,
}

impl Default for ExitCodes {
    fn default() -> ExitCodes {
        ExitCodes { own_failure: OWN_FAILURE, not_executable: NOT_EXECUTABLE, not_found: NOT_FOUND }
    }
}

impl ExitCodes {
    /// Replaces one of foster's own codes, and returns any other as it is.
    pub fn of(self, code: u8) -> u8 {
        match code {
            OWN_FAILURE => self.own_failure,
            NOT_EXECUTABLE => self.not_executable,
            NOT_FOUND => self.not_found,
            other => other,
        }
    }
}

/// How a process ended.
///
/// Decoded by hand: `nix`'s `WaitStatus` answers EINVAL for a process killed by a real-time signal, after it has been
/// reaped, and its pid and status are then lost for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// It called exit(2) with this status.
    Exited(u8),
    /// A signal ended it.
    Killed {
        /// Which one, real-time ones included.
        signal: Signal,
        /// Whether the kernel wrote a core dump.
        core_dumped: bool,
    },
}

/// A wait status as wait4(2) returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The process is gone.
    Died(Death),
    /// It was stopped by this signal and still lives.
    Stopped(Signal),
}

impl Change {
    /// Decodes a raw status; `None` only for what the options that foster passes to wait4(2) cannot return.
    pub fn from_status(status: i32) -> Option<Change> {
        if libc::WIFEXITED(status) {
            return Some(Change::Died(Death::Exited(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX))));
        }
        if libc::WIFSTOPPED(status) {
            return Signal::new(libc::WSTOPSIG(status)).map(Change::Stopped);
        }
        let signal = Signal::new(libc::WTERMSIG(status))?;
        Some(Change::Died(Death::Killed { signal, core_dumped: libc::WCOREDUMP(status) }))
    }
}

impl Death {
    /// Whether this signal ended it.
    pub fn is_by(self, by: Signal) -> bool {
        matches!(self, Death::Killed { signal, .. } if signal == by)
    }

    /// The exit code that a shell would report: the status, or 128 + N for signal N.
    pub fn code(self) -> u8 {
        match self {
            Death::Exited(code) => code,
            Death::Killed { signal, .. } => u8::try_from(signal.number()).unwrap_or(0).saturating_add(128),
        }
    }

    /// Whether there is a core dump, if that is a question.
    pub fn core(self) -> Option<&'static str> {
        match self {
            Death::Killed { core_dumped: true, .. } => Some("core dumped"),
            Death::Killed { signal, .. } if signal.dumps_core() => Some("no core dump"),
            Death::Killed { .. } | Death::Exited(_) => None,
        }
    }
}

/// `exited with status 23`, `killed by SIGKILL (signal 9)`, the latter with `, core dumped`, or with `, no core dump`
/// where the signal is one that has a core dumped; without either in the alternate form (`{:#}`).
impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Death::Exited(code) => write!(f, "exited with status {code}"),
            Death::Killed { signal, .. } => {
                write!(f, "killed by {signal} (signal {})", signal.number())?;
                match self.core() {
                    Some(core) if !f.alternate() => write!(f, ", {core}"),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// The exit codes that `-e` reports as 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OkCodes([u64; 4]);

impl OkCodes {
    /// Adds one code.
    pub fn insert(&mut self, code: u8) {
        if let Some(word) = self.0.get_mut(usize::from(code / 64)) {
            *word |= 1_u64 << (code % 64);
        }
    }

    /// Whether this code is to be reported as 0.
    pub fn contains(&self, code: u8) -> bool {
        self.0.get(usize::from(code / 64)).is_some_and(|word| word & (1_u64 << (code % 64)) != 0)
    }
}

/// How foster itself ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With this exit code.
    Code(u8),
    /// By this signal, as the command did, so that a shell sees what it would have seen without foster.
    Signal(Signal),
}

impl Outcome {
    /// What foster makes of the command's death. As PID 1 no signal can end it (signal(7): init gets only those it
    /// has a handler for), so there it is `by_code` always.
    pub fn of(death: Death, ok: &OkCodes, by_code: bool) -> Outcome {
        match death {
            _ if ok.contains(death.code()) => Outcome::Code(0),
            Death::Killed { signal, .. } if !by_code => Outcome::Signal(signal),
            _ => Outcome::Code(death.code()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn killed(number: i32, core_dumped: bool) -> Death {
        Death::Killed { signal: Signal::new(number).expect("a signal"), core_dumped }
    }

    #[test]
    fn another_programs_codes_take_the_place_of_fosters_and_no_other() {
        let codes = ExitCodes { own_failure: 1, not_executable: 2, not_found: 3 };
        assert_eq!([125, 126, 127, 0, 1, 124, 128].map(|code| codes.of(code)), [1, 2, 3, 0, 1, 124, 128]);
        assert_eq!([125, 126, 127, 9].map(|code| ExitCodes::default().of(code)), [125, 126, 127, 9]);
    }

    #[test]
    fn a_death_is_by_the_signal_that_ended_it_alone() {
        assert!(killed(9, false).is_by(Signal::KILL) && killed(9, true).is_by(Signal::KILL));
        assert!(!killed(15, false).is_by(Signal::KILL) && !Death::Exited(9).is_by(Signal::KILL));
    }

    /// The regression that an init built on nix's `WaitStatus` has: it loses this one and waits for ever.
    #[test]
    fn every_signal_decodes_real_time_ones_included() {
        for number in 1..=64 {
            assert_eq!(Change::from_status(number), Some(Change::Died(killed(number, false))), "signal {number}");
            assert_eq!(
                Change::from_status(number | 0x80),
                Some(Change::Died(killed(number, true))),
                "signal {number}, core"
            );
            assert_eq!(Change::from_status(number << 8 | 0x7f), Signal::new(number).map(Change::Stopped));
        }
    }

    #[test]
    fn every_exit_status_decodes() {
        for code in 0..=255_u8 {
            assert_eq!(Change::from_status(i32::from(code) << 8), Some(Change::Died(Death::Exited(code))));
        }
    }

    #[test]
    fn words_name_the_status_the_signal_and_the_core() {
        assert_eq!(Death::Exited(23).to_string(), "exited with status 23");
        assert_eq!(killed(9, false).to_string(), "killed by SIGKILL (signal 9)");
        assert_eq!(killed(11, true).to_string(), "killed by SIGSEGV (signal 11), core dumped");
        assert_eq!(killed(11, false).to_string(), "killed by SIGSEGV (signal 11), no core dump");
        assert_eq!(format!("{:#}", killed(11, true)), "killed by SIGSEGV (signal 11)");
        assert_eq!(killed(36, false).to_string(), "killed by SIGRTMIN+2 (signal 36)");
    }

    #[test]
    fn the_outcome_is_a_code_for_pid_1_and_the_same_signal_otherwise() {
        let none = OkCodes::default();
        assert_eq!(Outcome::of(Death::Exited(7), &none, true), Outcome::Code(7));
        assert_eq!(Outcome::of(Death::Exited(7), &none, false), Outcome::Code(7));
        assert_eq!(Outcome::of(killed(15, false), &none, true), Outcome::Code(143));
        assert_eq!(Outcome::of(killed(64, false), &none, true), Outcome::Code(192));
        assert_eq!(Outcome::of(killed(15, false), &none, false), Outcome::Signal(Signal::TERM));
    }

    #[test]
    fn ok_codes_become_0_whether_status_or_signal() {
        let mut ok = OkCodes::default();
        for code in [0, 3, 63, 64, 143, 255] {
            ok.insert(code);
        }
        assert_eq!((0..=255).filter(|c| ok.contains(*c)).collect::<Vec<u8>>(), [0, 3, 63, 64, 143, 255]);
        assert_eq!(Outcome::of(Death::Exited(3), &ok, true), Outcome::Code(0));
        assert_eq!(Outcome::of(killed(15, false), &ok, false), Outcome::Code(0));
        assert_eq!(Outcome::of(Death::Exited(4), &ok, true), Outcome::Code(4));
    }
}
