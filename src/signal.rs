//! Signals as the kernel numbers them: names, sets, rewriting, and who sent one.
//!
//! Names and numbers do not come from the libc. musl hides signals 32 to 34 and calls 35 SIGRTMIN, where glibc,
//! Docker and the programs that foster forwards to all say 34.

use std::fmt;
use std::str::FromStr;

use crate::text::Title;

/// One signal, 1 to 64 (`signal(7)`; x86, Arm and RISC-V numbering).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

/// The first real-time signal as glibc and Docker number it; the kernel's own 32 and 33 belong to the C library.
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

/// What [`Signal::from_str`] takes, for error messages.
pub const ACCEPTED: &str = "a signal (TERM, RTMIN, 15)";

#[allow(missing_docs)] // the names say it all
impl Signal {
    pub const HUP: Signal = Signal(1);
    pub const INT: Signal = Signal(2);
    pub const QUIT: Signal = Signal(3);
    pub const KILL: Signal = Signal(9);
    pub const PIPE: Signal = Signal(13);
    pub const TERM: Signal = Signal(15);
    pub const CHLD: Signal = Signal(17);
    pub const CONT: Signal = Signal(18);
    pub const STOP: Signal = Signal(19);
    pub const TSTP: Signal = Signal(20);
    pub const TTIN: Signal = Signal(21);
    pub const TTOU: Signal = Signal(22);
}

impl Signal {
    /// The signal with this number; `None` outside 1 to 64.
    pub fn new(number: i32) -> Option<Signal> {
        match u8::try_from(number) {
            Ok(number @ 1..=RTMAX) => Some(Signal(number)),
            _ => None,
        }
    }

    /// The number that the kernel knows it by.
    pub fn number(self) -> i32 {
        i32::from(self.0)
    }

    /// 32 and 33, which the C library keeps for its threads: never forwarded, since a thread that gets one
    /// uninvited may die of it (nptl(7)).
    pub fn is_reserved(self) -> bool {
        matches!(self.0, 32 | 33)
    }

    /// Whether a process can do anything about it; KILL and STOP never reach a program.
    pub fn is_catchable(self) -> bool {
        self != Signal::KILL && self != Signal::STOP
    }

    /// Whether the kernel writes a core dump where this ends a process that may leave one (signal(7)).
    pub fn dumps_core(self) -> bool {
        matches!(self.0, 3..=8 | 11 | 24 | 25 | 31)
    }

    /// Whether this signal can stop a process (signal(7)). A traced process may be said to have been stopped by any other,
    /// but is not.
    pub fn is_stop(self) -> bool {
        matches!(self, Signal::STOP | Signal::TSTP | Signal::TTIN | Signal::TTOU)
    }
}

/// `SIGTERM`, `SIGRTMIN`, `SIGRTMIN+3`, `SIGRTMAX-2`: real-time signals as `kill -l` of bash and Docker say them.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            RTMIN => f.write_str("SIGRTMIN"),
            n @ 35..=49 => write!(f, "SIGRTMIN+{}", n.saturating_sub(RTMIN)),
            n @ 50..=63 => write!(f, "SIGRTMAX-{}", RTMAX.saturating_sub(n)),
            RTMAX => f.write_str("SIGRTMAX"),
            n => match nix::sys::signal::Signal::try_from(i32::from(n)) {
                Ok(named) => f.write_str(named.as_str()),
                Err(_) => write!(f, "signal {n}"),
            },
        }
    }
}

/// The text was no signal; [`ACCEPTED`] says what is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotASignal;

impl FromStr for Signal {
    type Err = NotASignal;

    /// Names with or without `SIG`, in either case as Docker takes them, or numbers. 32 and 33 are refused.
    fn from_str(text: &str) -> Result<Signal, NotASignal> {
        let parsed = if text.starts_with(|c: char| c.is_ascii_digit()) {
            text.parse().ok().and_then(Signal::new)
        } else {
            by_name(&text.to_ascii_uppercase())
        };
        parsed.filter(|signal| !signal.is_reserved()).ok_or(NotASignal)
    }
}

fn by_name(name: &str) -> Option<Signal> {
    let short = name.strip_prefix("SIG").unwrap_or(name);
    if let Some(offset) = short.strip_prefix("RTMIN") {
        return Signal::new(i32::from(RTMIN.checked_add(real_time_offset(offset, '+')?)?));
    }
    if let Some(offset) = short.strip_prefix("RTMAX") {
        return Signal::new(i32::from(RTMAX.checked_sub(real_time_offset(offset, '-')?)?));
    }
    let short = match short {
        "CLD" => "CHLD",
        "IOT" => "ABRT",
        "POLL" => "IO",
        other => other,
    };
    let mut standard = (1..=31).filter_map(Signal::new);
    standard.find(|signal| signal.to_string().strip_prefix("SIG") == Some(short))
}

/// The `+3` of `RTMIN+3`; nothing at all is 0. At most 30, so that the result stays a real-time signal.
fn real_time_offset(text: &str, sign: char) -> Option<u8> {
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.strip_prefix(sign)?;
    let all_digits = digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|n| all_digits && *n <= RTMAX.saturating_sub(RTMIN))
}

/// A set of signals as the kernel's own 64-bit mask, in which 32 to 34 exist (a libc's `sigset_t` leaves them out).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// Every signal that the kernel has.
    pub const ALL: SignalSet = SignalSet(u64::MAX);

    fn bit(signal: Signal) -> u64 {
        1_u64.checked_shl(u32::from(signal.0).saturating_sub(1)).unwrap_or(0)
    }

    /// Adds one signal.
    pub fn insert(&mut self, signal: Signal) {
        self.0 |= SignalSet::bit(signal);
    }

    /// This set without one signal.
    pub fn without(self, signal: Signal) -> SignalSet {
        SignalSet(self.0 & !SignalSet::bit(signal))
    }

    /// This set without the signals of another.
    pub fn except(self, other: SignalSet) -> SignalSet {
        SignalSet(self.0 & !other.0)
    }

    /// Whether the signal is in the set.
    pub fn contains(self, signal: Signal) -> bool {
        self.0 & SignalSet::bit(signal) != 0
    }
}

/// What is forwarded when a signal arrives: itself, another one, or nothing (`-r FROM:TO`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrites([Rewrite; 65]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rewrite {
    Unchanged,
    To(Signal),
    Drop,
}

impl Default for Rewrites {
    fn default() -> Rewrites {
        Rewrites([Rewrite::Unchanged; 65])
    }
}

impl Rewrites {
    /// The signal to forward for one that arrived; `None`: forward nothing.
    pub fn apply(&self, signal: Signal) -> Option<Signal> {
        match self.0.get(usize::from(signal.0)) {
            Some(Rewrite::To(to)) => Some(*to),
            Some(Rewrite::Drop) => None,
            Some(Rewrite::Unchanged) | None => Some(signal),
        }
    }

    /// Forwards TO for FROM unless something else was said about FROM.
    pub fn default_to(&mut self, from: Signal, to: Signal) {
        if let Some(slot) = self.0.get_mut(usize::from(from.0))
            && *slot == Rewrite::Unchanged
        {
            *slot = Rewrite::To(to);
        }
    }

    /// Forwards TO for FROM, or nothing; a later one for the same FROM wins. For a FROM that never reaches foster, or is
    /// never forwarded, it changes nothing.
    pub fn set(&mut self, from: Signal, to: Option<Signal>) {
        if let Some(slot) = self.0.get_mut(usize::from(from.0)) {
            *slot = to.map_or(Rewrite::Drop, Rewrite::To);
        }
    }

    /// Adds one `FROM:TO`; a later one for the same FROM wins.
    ///
    /// # Errors
    /// Which half is wrong.
    pub fn add(&mut self, text: &str) -> Result<(), BadRewrite> {
        let (from, to) = text.split_once(':').ok_or(BadRewrite::NoColon)?;
        let from: Signal = from.parse().map_err(|_| BadRewrite::From)?;
        if !from.is_catchable() {
            return Err(BadRewrite::Uncatchable(from));
        }
        if from == Signal::CHLD {
            return Err(BadRewrite::Chld);
        }
        let to = match to {
            "0" | "none" => None,
            name => Some(name.parse().map_err(|_| BadRewrite::To)?),
        };
        self.set(from, to);
        Ok(())
    }
}

/// What is wrong with a `FROM:TO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRewrite {
    NoColon,
    /// FROM is no signal.
    From,
    /// TO is no signal.
    To,
    /// FROM is SIGKILL or SIGSTOP, which never reach a program.
    Uncatchable(Signal),
    /// FROM is SIGCHLD, which is foster's own and never forwarded.
    Chld,
}

/// Who caused a signal, as far as the kernel tells (`si_code`, `si_pid` and `si_uid` in sigaction(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A process that this PID namespace can see, as the kernel says.
    Process {
        /// Its process ID here.
        pid: i32,
        /// Its real user ID, as this user namespace sees it.
        uid: u32,
        /// Who it is, read when the signal arrived and only if the level asks for it: it may be gone soon after.
        name: Option<Title>,
    },
    /// A process queued the signal (sigqueue(3), rt_sigqueueinfo(2)), and wrote itself who it is. The kernel passes that on
    /// unseen, so it may be a lie.
    Claimed {
        /// The process ID that it wrote; 0 for "outside this PID namespace", if it is true.
        pid: i32,
        uid: u32,
        /// The name of the process that has this ID.
        name: Option<Title>,
    },
    /// A process that this PID namespace cannot see: the container runtime, a host shell.
    Outside,
    /// The kernel had no room to keep who sent it: a queue of signals that is full. It then says pid 0 too
    /// (`collect_signal` in kernel/signal.c).
    Unknown,
    /// The kernel: the terminal's Ctrl-C, a timer, a limit.
    Kernel,
    /// foster itself, by writing to its own log or by touching the terminal. Never forwarded.
    Myself,
}

/// What sigqueue(3) attached to a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// `si_code`, negative as for everything that a process queues.
    pub code: i32,
    /// `si_pid` of the one who queued it.
    pub pid: i32,
    /// `si_uid` of the one who queued it.
    pub uid: u32,
    /// `si_value`, the integer or the pointer, as the machine word that holds either. From a sender of 64 bits a foster of 32
    /// gets the lower half, which is the integer.
    pub value: usize,
}

/// One signal as foster received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Which one.
    pub signal: Signal,
    /// Who sent it.
    pub sender: Sender,
    /// What came with it, for those sent with sigqueue(3).
    pub payload: Option<Payload>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn every_signal() -> impl Iterator<Item = Signal> {
        (1..=64).filter_map(Signal::new)
    }

    #[test]
    fn names_round_trip_for_every_signal_that_has_one() {
        for signal in every_signal().filter(|s| !s.is_reserved()) {
            let name = signal.to_string();
            assert_eq!(name.parse(), Ok(signal), "{name}");
            assert_eq!(name.to_lowercase().parse(), Ok(signal), "{name} in lower case");
            assert_eq!(name.trim_start_matches("SIG").parse(), Ok(signal), "{name} without SIG");
            assert_eq!(signal.number().to_string().parse(), Ok(signal), "{name} by number");
        }
    }

    #[test]
    fn real_time_names_count_from_34_as_docker_does() {
        for (name, number) in [
            ("RTMIN", 34),
            ("RTMIN+0", 34),
            ("SIGRTMIN+15", 49),
            ("RTMAX-14", 50),
            ("RTMAX", 64),
            ("RTMIN+30", 64),
            ("RTMAX-30", 34),
        ] {
            assert_eq!(name.parse::<Signal>().map(Signal::number), Ok(number), "{name}");
        }
        assert_eq!(Signal(36).to_string(), "SIGRTMIN+2");
        assert_eq!(Signal(62).to_string(), "SIGRTMAX-2");
    }

    #[test]
    fn aliases_are_known() {
        for (alias, name) in [("CLD", "CHLD"), ("IOT", "ABRT"), ("POLL", "IO"), ("SIGPOLL", "SIGIO")] {
            assert_eq!(alias.parse::<Signal>(), name.parse(), "{alias}");
        }
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for text in [
            "",
            "0",
            "-1",
            "65",
            "32",
            "33",
            "999999999999",
            "SIG",
            "TERM ",
            " TERM",
            "15x",
            "SIGSIGTERM",
            "RTMIN-1",
            "RTMAX+1",
            "RTMIN+31",
            "RTMIN++1",
            "RTMIN+",
            "RTMAX-31",
            "TERM:QUIT",
            "é",
        ] {
            assert_eq!(text.parse::<Signal>(), Err(NotASignal), "{text:?}");
        }
    }

    #[test]
    fn the_mask_is_the_kernels_own() {
        let mut set = SignalSet::default();
        set.insert(Signal(34));
        assert_eq!(set.0, 1 << 33);
        assert!(set.contains(Signal(34)) && !set.contains(Signal(35)));
        assert_eq!(set.without(Signal(34)), SignalSet::default());
        assert_eq!(SignalSet::ALL.without(Signal(34)), SignalSet(!(1 << 33)));
        assert!(every_signal().all(|s| SignalSet::ALL.contains(s)));
    }

    #[test]
    fn a_rewrite_is_by_name_or_number_and_the_last_one_wins() {
        let mut rewrites = Rewrites::default();
        for text in ["TERM:QUIT", "sigint:15", "1:0", "USR1:none", "RTMIN+1:RTMAX", "USR2:HUP", "USR2:KILL"] {
            assert_eq!(rewrites.add(text), Ok(()), "{text}");
        }
        let to = |name: &str| rewrites.apply(name.parse().expect(name)).map(|s| s.to_string());
        assert_eq!(to("TERM").as_deref(), Some("SIGQUIT"));
        assert_eq!(to("INT").as_deref(), Some("SIGTERM"));
        assert_eq!(to("HUP"), None);
        assert_eq!(to("USR1"), None);
        assert_eq!(to("RTMIN+1").as_deref(), Some("SIGRTMAX"));
        assert_eq!(to("USR2").as_deref(), Some("SIGKILL"));
        assert_eq!(to("QUIT").as_deref(), Some("SIGQUIT"), "not rewritten twice");
    }

    #[test]
    fn a_bad_rewrite_says_which_half() {
        for (text, bad) in [
            ("TERM", BadRewrite::NoColon),
            ("FOO:TERM", BadRewrite::From),
            ("33:TERM", BadRewrite::From),
            ("TERM:FOO", BadRewrite::To),
            ("TERM:", BadRewrite::To),
            ("TERM:QUIT:INT", BadRewrite::To),
            ("KILL:TERM", BadRewrite::Uncatchable(Signal::KILL)),
            ("STOP:TERM", BadRewrite::Uncatchable(Signal::STOP)),
            ("CHLD:TERM", BadRewrite::Chld),
        ] {
            assert_eq!(Rewrites::default().add(text), Err(bad), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_what_it_takes_round_trips(text in ".{0,12}") {
            if let Ok(signal) = text.parse::<Signal>() {
                prop_assert_eq!(signal.to_string().parse(), Ok(signal));
            }
            let mut rewrites = Rewrites::default();
            if rewrites.add(&text).is_err() {
                prop_assert_eq!(rewrites, Rewrites::default());
            }
        }
    }
}
