//! `--watch`: while the command runs, foster itself looks as `--check` does, every 30 s. When to look and what to say are pure.
//! Nothing here takes memory after the start, starts a process, or ends foster.

use std::path::Path;
use std::time::Duration;

use crate::cgroup::Controller;
use crate::check::{Blind, Look, Parents, Verdict};
use crate::config::WatchConfig;
use crate::facts::{Turn, Watched};
use crate::sys;

/// So many parents of zombies are told apart; the zombies of others count too. Only memory that is used is taken.
const MOST_PARENTS: usize = 512;

/// The looks and what came of them.
pub struct Watch {
    config: WatchConfig,
    rounds: Rounds,
    alarms: Alarms,
    /// The look that is going on.
    look: Option<Look>,
    /// Room for the next one.
    parents: Vec<crate::check::Parent>,
    /// foster's own cgroup, if it is limited.
    cgroup: Option<Controller>,
}

impl Watch {
    /// Takes all the memory that it will ever need, and finds foster's cgroup. The first look comes after an interval.
    #[cold]
    pub fn new(config: WatchConfig) -> Watch {
        Watch {
            config,
            rounds: Rounds { every: config.every, next: config.every },
            alarms: Alarms::default(),
            look: None,
            parents: Vec::with_capacity(MOST_PARENTS),
            cgroup: Controller::find(Path::new("/"), "pids"),
        }
    }

    /// How long foster may sleep: not at all while a look is going on.
    pub fn left(&self, now: Duration) -> Duration {
        if self.look.is_some() { Duration::ZERO } else { self.rounds.left(now) }
    }

    /// Looks at some processes: few enough to take less time than anybody notices. Returns what was seen when those were the
    /// last.
    ///
    /// # Errors
    /// Why foster cannot look.
    #[cold]
    pub fn look_at_some(&mut self) -> Result<Option<Verdict>, Blind> {
        let mut look = match self.look.take() {
            Some(look) => look,
            None => {
                let list = std::mem::take(&mut self.parents);
                Look::begin(Parents { list, most: MOST_PARENTS, but: Some(sys::pid()) })?
            }
        };
        if look.some()? {
            self.look = Some(look);
            return Ok(None);
        }
        Ok(Some(look.end(self.cgroup.as_ref(), self.config.limits)))
    }

    /// The look is over. What is to be said of it, of zombies and of pids.
    #[cold]
    pub fn judge(&mut self, verdict: &Verdict, now: Duration) -> [(Watched, Option<Turn>); 2] {
        self.rounds.looked(now);
        self.alarms.judge(verdict)
    }

    /// Keeps the room that the list of parents takes, for the next look.
    pub fn keep(&mut self, verdict: Verdict) {
        self.parents = verdict.parents;
        self.parents.clear();
    }
}

/// When the looks are due, in time since the command's start.
#[derive(Debug)]
struct Rounds {
    every: Duration,
    next: Duration,
}

impl Rounds {
    fn left(&self, now: Duration) -> Duration {
        self.next.saturating_sub(now)
    }

    /// The interval counts from the end of a look, so that looks which take long do not follow each other without a pause.
    fn looked(&mut self, now: Duration) {
        self.next = now.saturating_add(self.every);
    }
}

/// What was said last.
#[derive(Debug, Default)]
struct Alarms {
    zombies: Alarm,
    pids: Alarm,
}

impl Alarms {
    fn judge(&mut self, verdict: &Verdict) -> [(Watched, Option<Turn>); 2] {
        let zombies = Amount { used: verdict.zombies, left: None };
        // A limit that is 90% full cannot double. What is left can halve.
        let pids = verdict.pids.map_or(Amount::default(), |pids| Amount {
            used: pids.used,
            left: pids.limit.map(|limit| limit.saturating_sub(pids.used)),
        });
        [
            (Watched::Zombies, self.zombies.turn(verdict.too_many_zombies().then_some(zombies))),
            (Watched::Pids, self.pids.turn(verdict.too_few_pids().then_some(pids))),
        ]
    }
}

/// A limit, and how bad it was when it was last said that it is passed; `None`: it is not passed.
#[derive(Debug, Default)]
struct Alarm(Option<Amount>);

/// How much of something there is, and how much more there may be, if that is limited.
#[derive(Clone, Copy, Debug, Default)]
struct Amount {
    used: u64,
    left: Option<u64>,
}

impl Amount {
    fn is_twice_as_bad_as(self, before: Amount) -> bool {
        let has_halved = |(now, before): (u64, u64)| now < before && now <= before / 2;
        self.used >= before.used.saturating_mul(2).max(1) || self.left.zip(before.left).is_some_and(has_halved)
    }
}

impl Alarm {
    /// What is to be said now that there is so much; `None`: the limit is not passed.
    fn turn(&mut self, passed: Option<Amount>) -> Option<Turn> {
        let turn = match (self.0, passed) {
            (None, None) => return None,
            (None, Some(_)) => Turn::Passed,
            (Some(_), None) => Turn::Over,
            (Some(before), Some(now)) if now.is_twice_as_bad_as(before) => Turn::Doubled,
            (Some(_), Some(_)) => return None,
        };
        self.0 = passed;
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::{parent, pids, verdict};
    use proptest::prelude::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_limit_is_said_when_it_is_passed_when_it_has_doubled_and_when_it_is_over() {
        use Turn::{Doubled, Over, Passed};
        let mut alarms = Alarms::default();
        for (zombies, said) in [
            (0, None),
            (100, None),
            (101, Some(Passed)),
            (201, None),
            (202, Some(Doubled)),
            (150, None),
            (403, None),
            (404, Some(Doubled)),
            (1_000_000, Some(Doubled)),
            (101, None),
            (100, Some(Over)),
            (0, None),
            (500, Some(Passed)),
            (0, Some(Over)),
        ] {
            let verdict = verdict(&[parent(7, b"a", zombies)], &[], "zombies=100");
            assert_eq!(alarms.judge(&verdict), [(Watched::Zombies, said), (Watched::Pids, None)], "{zombies}");
        }
    }

    #[test]
    fn of_pids_it_is_also_said_when_half_of_those_that_were_left_are_gone() {
        use Turn::{Doubled, Over, Passed};
        let mut alarms = Alarms::default();
        for (used, limit, said) in [
            (900, Some(1000), None),
            (901, Some(1000), Some(Passed)),
            (950, Some(1000), None),
            (951, Some(1000), Some(Doubled)),
            (975, Some(1000), None),
            (976, Some(1000), Some(Doubled)),
            (1000, Some(1000), Some(Doubled)),
            (1000, Some(1000), None),
            (999, Some(1000), None),
            (1000, Some(1000), None),
            (100, Some(1000), Some(Over)),
            (9, None, None),
        ] {
            let verdict = verdict(&[], &[pids(used, limit)], "pids=90%");
            assert_eq!(alarms.judge(&verdict), [(Watched::Zombies, None), (Watched::Pids, said)], "{used}");
        }
        let mut alarms = Alarms::default();
        for (used, said) in [(11, Some(Passed)), (21, None), (22, Some(Doubled))] {
            let verdict = verdict(&[], &[pids(used, Some(1000))], "pids=1%");
            assert_eq!(alarms.judge(&verdict)[1].1, said, "{used}");
        }
    }

    #[test]
    fn the_interval_is_a_pause() {
        let mut rounds = Rounds { every: s(30), next: s(30) };
        assert_eq!([s(0), s(29), s(30), s(90)].map(|now| rounds.left(now)), [s(30), s(1), s(0), s(0)]);
        rounds.looked(s(95));
        assert_eq!([s(95), s(124), s(125)].map(|now| rounds.left(now)), [s(30), s(1), s(0)]);
        rounds.looked(Duration::MAX);
        assert_eq!(rounds.left(s(1)), Duration::MAX.saturating_sub(s(1)));
    }

    #[test]
    fn a_look_takes_memory_only_once() {
        let mut watch = Watch::new(WatchConfig::default());
        let room = watch.parents.as_ptr();
        for _ in 0..2 {
            let verdict = loop {
                match watch.look_at_some() {
                    Ok(Some(verdict)) => break verdict,
                    Ok(None) => assert_eq!(watch.left(s(0)), s(0), "a look is going on"),
                    // In a sandbox.
                    Err(_) => return,
                }
            };
            watch.judge(&verdict, s(1));
            watch.keep(verdict);
            assert_eq!(
                (watch.left(s(1)), watch.parents.as_ptr(), watch.parents.capacity()),
                (s(30), room, MOST_PARENTS)
            );
        }
    }

    proptest! {
        /// As many warnings as there are doublings, whatever happens: nobody's log is flooded.
        #[test]
        fn between_two_alarms_it_has_doubled_or_was_over(counts in proptest::collection::vec(0..5000_u64, 0..60)) {
            let mut alarm = Alarm::default();
            let mut last = None;
            for count in counts {
                let turn = alarm.turn((count > 100).then_some(Amount { used: count, left: None }));
                match turn {
                    Some(Turn::Passed) => prop_assert_eq!(last.replace(count), None),
                    Some(Turn::Doubled) => prop_assert!(last.replace(count).is_some_and(|last| count >= 2 * last)),
                    Some(Turn::Over) => prop_assert!(last.take().is_some() && count <= 100),
                    None => prop_assert_eq!(last.is_some(), count > 100),
                }
            }
        }
    }
}
