//! What happened, as plain data: what the policy decides to say, and what the reporter finds words for.

use std::time::Duration;

use nix::errno::Errno;

use crate::exit::{Death, Outcome};
use crate::signal::{Delivery, Sender, Signal};
use crate::text::Name;

/// Something worth saying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The command was executed.
    Started { pid: i32 },
    /// A signal arrived, whatever becomes of it.
    Received(Delivery),
    /// A signal went where it should.
    Forwarded {
        delivery: Delivery,
        signal: Signal,
        /// To the command's whole group.
        group: bool,
    },
    /// The receiver had just ended.
    ForwardTooLate(Signal),
    /// The kernel refused, for example because the command now runs as another user.
    ForwardFailed {
        signal: Signal,
        /// kill(2)'s errno.
        errno: Errno,
    },
    /// `-r SIGNAL:0` held it back.
    Dropped(Delivery),
    /// `--stop-delay` holds a stop request for so long.
    Held {
        delivery: Delivery,
        /// For how long, at most.
        delay: Duration,
    },
    /// The command was stopped, and no shell is there to continue it.
    CommandStopped {
        signal: Signal,
        /// foster continued it.
        continued: bool,
    },
    /// The command ended, and what it left is asked to end too.
    LeftoversAsked {
        signal: Signal,
        /// So many were sent it. Those below them are theirs to stop.
        count: usize,
        /// They are the first generation.
        first: bool,
        /// It could not be found out who is below whom, so all of them were asked.
        all_at_once: bool,
    },
    /// Shortly before SIGKILL, everybody was asked who had not been asked before.
    LastCall { signal: Signal, count: usize },
    /// A stop request that came twice within a second is one.
    SameRequest(Delivery),
    /// The command ended, and foster stays for what it left (`--wait`).
    LeftoversAwaited,
    /// What the command left was sent this stop signal, and no shell is there to continue it, so foster did.
    LeftoversContinued(Signal),
    /// A signal went to what the command left.
    ForwardedToLeftovers { delivery: Delivery, signal: Signal },
    /// The leftovers cannot be found, so they are left alone.
    LeftoversUnknown(Errno),
    /// An orphan was reaped.
    Orphan(Orphan),
    /// The command is gone.
    CommandEnded(CommandEnd),
    /// foster ends, and this is what happened.
    Finished(Summary),
    /// There is no command, as `--pause` says.
    Paused,
    /// A signal ended the pause.
    PauseEnded { delivery: Delivery, orphans: u64 },
    /// A persona whose peer is no subreaper runs as something else than PID 1.
    OrphansElsewhere,
    /// Something that was to be set up could not be had; the command runs all the same.
    Degraded {
        what: Lack,
        /// The system call's errno.
        errno: Errno,
    },
}

/// A reaped orphan with everything that is gone once it is reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orphan {
    pub pid: i32,
    pub death: Death,
    /// Its name, where /proc could be read.
    pub name: Option<Name>,
    /// How long it lived, where /proc could be read.
    pub age: Option<Duration>,
    /// CPU time of it and of the children that it waited for, user and system (getrusage(2), RUSAGE_CHILDREN).
    pub cpu: Duration,
    /// Its largest resident set, or that of its largest child, in KiB.
    pub max_rss_kib: u64,
    /// Looked at only if SIGKILL ended it.
    pub oom_kills: OomKills,
}

/// What the cgroup's oom_kill count tells of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OomKills {
    /// It rose by so many meanwhile.
    Rose(u64),
    /// It was so many when foster read it for the first time, which was after this end: whether it rose is not known.
    Counted(u64),
}

impl OomKills {
    /// Nothing.
    pub const NONE: OomKills = OomKills::Rose(0);

    /// What is told of this end of the command. A count without a rise may be of others: that is no reason to doubt each failure,
    /// but SIGKILL, and what a shell calls that, may be one of those.
    #[cold]
    pub fn told_of(self, death: Death) -> OomKills {
        let may_be_sigkill = death.is_by(Signal::KILL) || death == Death::Exited(A_SHELLS_WORD_FOR_SIGKILL);
        match self {
            OomKills::Counted(_) if !may_be_sigkill => OomKills::NONE,
            oom_kills => oom_kills,
        }
    }
}

/// 128 + 9.
const A_SHELLS_WORD_FOR_SIGKILL: u8 = 137;

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
    /// Looked at only if SIGKILL ended it, or if it exited with another status than 0 unasked.
    pub oom_kills: OomKills,
}

/// All that happened, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
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

/// Something that could not be had, without which foster and the command go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The command's process group.
    Group,
    /// The terminal, for the command.
    Terminal,
    /// foster's being a subreaper.
    Subreaper,
    /// The signal at the death of foster's parent.
    ParentDeath,
    /// The termination log, at the start.
    TerminationLog,
    /// The termination log, at the end.
    LastWord,
}

/// What `--watch` has a limit for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    Zombies,
    /// Processes and threads against the limit on them.
    Pids,
}

/// How it stands with a limit of `--watch`, when that is worth saying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is passed.
    Passed,
    /// It is passed, and it is twice as bad as when that was last said.
    Doubled,
    /// It is no longer passed.
    Over,
}

/// Why those who are still alive are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roll {
    /// foster waits for them, so much longer at most; `None`: without a limit of its own.
    Awaited(Option<Duration>),
    /// Their time is up: SIGKILL follows.
    Killed,
    /// SIGKILL did not end them, so foster ends without them.
    GivenUp,
    /// The kernel does not let foster signal them.
    Refused,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oom_kills_of_before_are_told_of_sigkill_alone_and_those_of_meanwhile_of_every_failure() {
        let by = |signal| Death::Killed { signal, core_dumped: false };
        let (counted, rose) = (OomKills::Counted(3), OomKills::Rose(2));
        for (death, may_be_sigkill) in
            [(by(Signal::KILL), true), (Death::Exited(137), true), (Death::Exited(1), false), (by(Signal::TERM), false)]
        {
            let told = if may_be_sigkill { counted } else { OomKills::NONE };
            assert_eq!((counted.told_of(death), rose.told_of(death)), (told, rose), "{death:?}");
        }
    }
}
