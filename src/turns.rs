//! Whose turn it is: the clock, how long to reap, and which signal to take.

use std::time::Duration;

use crate::signal::{Delivery, Sender, Signal, SignalSet};
use crate::sys;

/// The time since the command's start: read when it matters, and once for all that one wake-up brings.
pub struct Clock {
    started: Duration,
    now: Option<Duration>,
}

impl Clock {
    /// Starts now.
    pub fn start() -> Clock {
        Clock { started: sys::monotonic_time(), now: Some(Duration::ZERO) }
    }

    /// The time.
    pub fn now(&mut self) -> Duration {
        *self.now.get_or_insert_with(|| sys::monotonic_time().saturating_sub(self.started))
    }

    /// Time has passed, so the clock is to be read again when it matters.
    pub fn forget(&mut self) {
        self.now = None;
    }
}

/// How far foster is with the news of its children, which it takes until there is none.
pub enum Reaping {
    /// There may be more.
    On {
        /// How many were taken.
        taken: u32,
        /// When the clock was first read for that.
        since: Option<Duration>,
    },
    /// There was no more.
    Done {
        /// How many signals were taken since.
        signals: u32,
    },
    /// There may be more, but first it is the turn of so many signals.
    Postponed(u32),
}

/// How long foster reaps without looking up. Several hundred thousand deaths, or ten thousand that are described.
const LOOK_UP_AFTER: Duration = Duration::from_secs(1);
/// How many signals have their turn when children die faster than they are reaped: enough for [`Turns::take`] to have looked
/// past a flood of one signal.
const SIGNALS_BETWEEN: u32 = 2 * LOOK_FOR_OTHERS;
/// The clock is read once for so many children.
const BURST: u32 = 1024;

impl Reaping {
    /// At every wake-up that may be about a child.
    pub const START: Reaping = Reaping::On { taken: 0, since: None };

    /// Counts one more child that is to be asked for; false when foster has to see to a deadline or to signals first. Children
    /// that die faster than they are reaped could otherwise keep a stop request waiting for ever.
    ///
    /// The limit is a time and not a number of deaths: what is due may be a walk over /proc, in which a fork bomb leaves more
    /// zombies than any such number, and the process table would fill up.
    pub fn takes_one_more(&mut self, clock: &mut Clock, deadline: impl FnOnce() -> Option<Duration>) -> bool {
        let Reaping::On { taken, since } = self else { return false };
        *taken = taken.wrapping_add(1);
        if !taken.is_multiple_of(BURST) {
            return true;
        }
        clock.forget();
        let now = clock.now();
        let is_due = deadline().is_some_and(|deadline| deadline <= now);
        if now.saturating_sub(*since.get_or_insert(now)) >= LOOK_UP_AFTER {
            *self = Reaping::Postponed(SIGNALS_BETWEEN);
            return false;
        }
        !is_due
    }

    /// A signal was taken, or none was there: whether to reap next.
    ///
    /// A child that dies leaves SIGCHLD pending, whoever is taken before it. So what another process has sent is no reason to
    /// look for dead children, and its way to the command is shorter by that system call. Another process may have sent
    /// SIGCHLD too: a child's is then lost in it, since only one is kept. What the kernel sends may be the exit signal of a
    /// child that was cloned with another one, before foster took its parent's place. And under a flood SIGCHLD may have to wait
    /// long for its turn, so foster reaps once in so many signals all the same.
    pub fn after_signal(&mut self, taken: Option<&Delivery>) {
        let may_be_a_child =
            |delivery: &Delivery| delivery.signal == Signal::CHLD || matches!(delivery.sender, Sender::Kernel);
        *self = match (&self, taken) {
            (Reaping::Postponed(left @ 2..), Some(_)) => Reaping::Postponed(left.saturating_sub(1)),
            (Reaping::Done { signals }, Some(delivery)) if *signals < LOOK_FOR_OTHERS && !may_be_a_child(delivery) => {
                Reaping::Done { signals: signals.saturating_add(1) }
            }
            _ => Reaping::START,
        };
    }
}

/// Takes signals so that none has to wait for ever. The kernel hands out the lowest number first, so that a flood of SIGHUP
/// would keep SIGTERM away. Every now and then foster takes one of the signals that had no turn yet, until all that are
/// pending have had one: several floods are no better than one.
#[derive(Default)]
pub struct Turns {
    /// What had its turn since nothing else was pending.
    taken: SignalSet,
    count: u32,
}

/// Foster looks for the others once in so many signals: it costs a system call, and that is then less than 2 in 100.
const LOOK_FOR_OTHERS: u32 = 64;

impl Turns {
    /// Waits for a signal, at most this long (rt_sigtimedwait(2)).
    pub fn take(&mut self, timeout: Option<Duration>) -> Option<Delivery> {
        let others = if self.count < LOOK_FOR_OTHERS {
            None
        } else {
            self.count = 0;
            let other = sys::wait_for_signal(SignalSet::ALL.except(self.taken), Some(Duration::ZERO));
            if other.is_none() {
                self.taken = SignalSet::default();
            }
            other
        };
        let delivery = others.or_else(|| sys::wait_for_signal(SignalSet::ALL, timeout))?;
        self.count = self.count.saturating_add(1);
        self.taken.insert(delivery.signal);
        Some(delivery)
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal::{self as Sig, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2};
    use nix::sys::signal::raise;

    use super::*;

    /// A clock that stands still, or that has just gone on by this much.
    fn clock(since_start: Duration) -> Clock {
        Clock { started: sys::monotonic_time().saturating_sub(since_start), now: None }
    }

    fn sent(signal: Signal) -> Delivery {
        Delivery { signal, sender: Sender::Outside, payload: None }
    }

    /// As many children as the clock is read once for: at the last one of them.
    fn burst(reaping: &mut Reaping, clock: &mut Clock, deadline: Option<Duration>) -> bool {
        assert!((1..1024).all(|_| reaping.takes_one_more(clock, || deadline)));
        reaping.takes_one_more(clock, || deadline)
    }

    /// The times are those that docs/design.md promises, and not the constants, so that a change of these is seen.
    #[test]
    fn reaping_makes_room_for_a_deadline_and_after_a_second_for_signals() {
        let mut reaping = Reaping::START;
        assert!(burst(&mut reaping, &mut clock(Duration::ZERO), None));
        assert!(!burst(&mut reaping, &mut clock(Duration::ZERO), Some(Duration::ZERO)), "a deadline is due");
        assert!(burst(&mut reaping, &mut clock(Duration::ZERO), Some(Duration::from_secs(900))));
        assert!(burst(&mut reaping, &mut clock(Duration::from_millis(500)), None), "no second has passed yet");
        assert!(!burst(&mut reaping, &mut clock(Duration::from_millis(1100)), None), "a second has passed");
        for _ in 1..SIGNALS_BETWEEN {
            reaping.after_signal(Some(&sent(Signal::HUP)));
            assert!(!reaping.takes_one_more(&mut clock(Duration::ZERO), || None), "it is the turn of signals");
        }
        reaping.after_signal(Some(&sent(Signal::HUP)));
        assert!(reaping.takes_one_more(&mut clock(Duration::ZERO), || None));
        let mut reaping = Reaping::Postponed(SIGNALS_BETWEEN);
        reaping.after_signal(None);
        assert!(reaping.takes_one_more(&mut clock(Duration::ZERO), || None), "no signal was there");
    }

    #[test]
    fn what_another_process_has_sent_is_no_reason_to_reap() {
        let reaps = |taken: Option<Delivery>| {
            let mut reaping = Reaping::Done { signals: 0 };
            reaping.after_signal(taken.as_ref());
            reaping.takes_one_more(&mut clock(Duration::ZERO), || None)
        };
        assert!(!reaps(Some(sent(Signal::TERM))));
        assert!(reaps(Some(sent(Signal::CHLD))), "a child's may be lost in it");
        assert!(reaps(Some(Delivery { sender: Sender::Kernel, ..sent(Signal::CHLD) })));
        assert!(reaps(Some(Delivery { sender: Sender::Kernel, ..sent(Signal::HUP) })), "a child's exit signal");
        assert!(reaps(None), "a deadline");
        let mut reaping = Reaping::Done { signals: 0 };
        let reaps = |_: &u32| {
            reaping.after_signal(Some(&sent(Signal::HUP)));
            reaping.takes_one_more(&mut clock(Duration::ZERO), || None)
        };
        assert_eq!((1..1000).find(reaps), Some(65), "a flood of other signals may keep SIGCHLD away");
    }

    /// Of two that are pending the kernel hands out the lower one, and here there is always one more of those.
    #[test]
    fn between_two_rounds_of_reaping_a_flood_of_one_signal_hides_no_other() {
        let taken = taken_in_floods(&[SIGUSR1], SIGUSR2);
        let has_turn = taken.iter().position(|number| *number == SIGUSR2 as i32);
        assert_eq!(has_turn, Some(64), "foster looks once in 64 signals");
        assert!(64 < SIGNALS_BETWEEN && taken.get(65) == Some(&(SIGUSR1 as i32)), "and the flood has its turn again");
    }

    #[test]
    fn floods_of_several_signals_hide_no_other() {
        let floods = [SIGHUP, SIGINT, SIGQUIT, SIGUSR1];
        let taken = taken_in_floods(&floods, SIGUSR2);
        let has_turn = taken.iter().position(|number| *number == SIGUSR2 as i32);
        // The three looks before were for the other floods. SIGHUP, the lowest, needs none.
        assert_eq!(has_turn, Some(4 * 64), "each has one turn before it");
        let later = taken.get(300..).unwrap_or_default();
        assert!(floods.iter().all(|flood| later.contains(&(*flood as i32))), "and then each of them again");
    }

    /// What is taken one after the other if each of these is sent again before that, and the other was sent once.
    fn taken_in_floods(floods: &[Sig], other: Sig) -> Vec<i32> {
        let floods = floods.to_vec();
        let take = move || {
            // To this thread: another test's could be ended by it.
            let send = |signal: Sig| raise(signal).expect("sent");
            sys::block_all_signals().expect("the mask");
            let mut turns = Turns::default();
            send(other);
            let mut next = || {
                floods.iter().copied().for_each(send);
                turns.take(Some(Duration::ZERO)).expect("one is pending").signal.number()
            };
            (0..1000).map(|_| next()).collect()
        };
        std::thread::spawn(take).join().expect("it takes them")
    }
}
