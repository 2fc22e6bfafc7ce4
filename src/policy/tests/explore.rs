//! Every sequence of events up to a length, and long random ones, under every policy.

use proptest::prelude::*;

use super::*;

/// One way to configure and to start foster.
type Policy = (Config<'static>, bool, bool);

fn every_policy() -> Vec<Policy> {
    let dumb_init = Ways { at_end: AtEnd::AskGroup, stops_when_told: true, ends_by_code: true, ..Ways::default() };
    let tini = Ways { at_end: AtEnd::Leave, ..Ways::default() };
    let mut policies = Vec::new();
    for (group, grace) in [(false, None), (true, Some(at(5))), (false, Some(at(0)))] {
        for (stop_delay, wait) in [(at(0), false), (at(0), true), (at(2), false), (at(2), true)] {
            for ways in [Ways::default(), dumb_init.clone(), tini.clone()] {
                for (is_pid1, has_terminal) in [(true, false), (true, true), (false, false), (false, true)] {
                    let mut config = Config { group, grace, stop_delay, wait, ways: ways.clone(), ..Config::default() };
                    config.rewrites.add("HUP:0").expect("valid");
                    policies.push((config, is_pid1, has_terminal));
                }
            }
        }
    }
    policies
}

/// What can happen: every event, and what makes it another one. HAPPENINGS itself is a deadline that is due, by which a held
/// request is released, and the last call and SIGKILL come. The last of `happening` is one before its time: the wait was
/// interrupted.
const HAPPENINGS: usize = 27;
/// SIGINT, which foster has inherited as ignored.
const IGNORED: usize = 23;
/// SIGTERM, a second later than what was before, so it is no request that was sent twice.
const LATER: usize = 24;

fn happening(which: usize) -> Event {
    match which {
        0 => term(),
        1 => Event::Signal(delivery(2, OTHER)),
        2 => Event::Signal(delivery(18, OTHER)),
        3 => Event::Signal(delivery(17, Sender::Kernel)),
        4 => Event::Signal(delivery(1, OTHER)),
        5 => Event::Signal(delivery(20, OTHER)),
        6 => died(COMMAND, Death::Exited(4)),
        7 => died(99, killed(Signal::KILL)),
        8 => stopped(Signal::TSTP),
        9 => stopped(Signal::STOP),
        10 => LEFT,
        11 => NONE_LEFT,
        12 => Event::NotSuspended,
        13 => Event::LeftoversLost,
        14 => stopped(Signal::TTIN),
        // A traced child is stopped by any signal; a thread dump is no stop request.
        15 => stopped(Signal::new(10).expect("USR1")),
        16 => Event::Signal(delivery(3, OTHER)),
        17 => Event::Asked { any_awaited: true, any_refused: true },
        18 => Event::Asked { any_awaited: false, any_refused: true },
        19 => Event::KillRefused,
        20 => Event::NotForwarded(Signal::TERM),
        21 => Event::TerminalHanded,
        22 => Event::NotOffered { pid: COMMAND, signal: Signal::TTOU },
        IGNORED => Event::Signal(delivery(2, OTHER)),
        LATER => term(),
        // They have all just ended.
        25 => Event::Asked { any_awaited: false, any_refused: false },
        _ => Event::Deadline,
    }
}

/// A foster, and what is true of the processes around it.
#[derive(Clone)]
struct World {
    state: State,
    now: Duration,
    command_dead: bool,
    called: bool,
    ended: bool,
}

impl World {
    fn new((config, is_pid1, has_terminal): &Policy) -> World {
        let state = state(config, *is_pid1, *has_terminal);
        World { state, now: at(1), command_dead: false, called: false, ended: false }
    }

    /// Steps one event, and looks at every promise that a single step can break.
    fn happens(&mut self, event: Event) -> Vec<Action> {
        let before = self.state.clone();
        let mut actions = Vec::new();
        if let Event::Died { pid: COMMAND, .. } = event {
            if before.asks_group() {
                step(&mut self.state, Event::Unreaped { pid: COMMAND }, Some(self.now), &mut actions);
            }
            self.command_dead = true;
        }
        let of_the_dead = actions.len();
        if !self.state.needs_time(&event) {
            self.is_the_same_at_any_time(event);
        }
        step(&mut self.state, event, Some(self.now), &mut actions);
        assert!(actions.len() - of_the_dead <= MOST_ACTIONS, "{event:?}: {} actions", actions.len());
        if let Some(Action::AskLeftovers(_) | Action::RequestOfLeftovers { .. }) = actions.last() {
            step(&mut self.state, HEARD, None, &mut actions);
        }
        if let Some(Action::OfferTerminal { pid, signal }) = actions.last().copied() {
            // Sometimes it is to be had.
            let taken = self.now.as_millis().is_multiple_of(2);
            step(&mut self.state, Event::Offered { pid, signal, taken }, Some(self.now), &mut actions);
        }
        let ends = actions.iter().filter(|action| matches!(action, Action::End(_))).count();
        assert!(!self.ended, "nothing happens after the end");
        self.ended = ends > 0;
        assert!(ends <= 1 && (ends == 0 || matches!(actions.last(), Some(Action::End(_)))), "{event:?} {actions:?}");
        if self.command_dead {
            let names = |action: &Action| names_the_command(*action);
            assert!(!actions.iter().skip(of_the_dead).any(names), "{event:?} {actions:?}");
        }
        for action in &actions {
            if let Action::ForwardToLeftovers { delivery, .. } = action {
                assert!(!before.is_stop_request(delivery.signal), "a stop request goes by generation: {actions:?}");
            }
            if let Action::LastCall { command, .. } = action {
                assert!(command.is_none() || before.kill_at.is_some(), "{event:?}: whose master has all its time");
                assert!(self.state.killing.is_none() && self.state.call_at.is_none(), "{event:?}: before SIGKILL");
                assert!(!std::mem::replace(&mut self.called, true), "{event:?}: there is one last call");
            }
        }
        let suspends_self = actions.iter().any(|action| matches!(action, Action::SuspendSelf(_)));
        let suspends_group = actions.iter().any(|action| matches!(action, Action::SuspendGroup(_)));
        assert!(!suspends_self || !before.is_pid1 || before.stops_when_told, "{event:?} {actions:?}");
        assert!(!suspends_group || !(before.is_pid1 || before.stops_when_told), "{event:?} {actions:?}");
        let refused = matches!(event, Event::KillRefused | Event::Asked { any_awaited: false, any_refused: true });
        let given_up = actions.contains(&Action::NameLeftovers(Roll::GivenUp));
        let leaves = given_up || refused || event == Event::LeftoversLost;
        let may_end = event == NONE_LEFT || leaves || before.at_end != AtEnd::StopLeftovers;
        assert!(ends == 0 || may_end, "leftovers at the end: {event:?} {actions:?}");
        if let (Some(was), is) = (before.kill_at, self.state.kill_at) {
            assert!(is.is_some_and(|is| is <= was), "{event:?}: {was:?} became {is:?}");
        }
        if let (Some(call), Some(kill)) = (self.state.call_at, self.state.kill_at) {
            assert!(call <= kill, "{event:?}: the last call comes before SIGKILL");
        }
        if let (Some(was), is) = (before.killing, self.state.killing) {
            assert!(is.is_some_and(|is| is.since == was.since && is.again_at >= was.again_at), "{event:?}");
        }
        actions
    }

    fn is_the_same_at_any_time(&self, event: Event) {
        let (mut now, mut at_start, mut actions, mut actions_at_start) =
            (self.state.clone(), self.state.clone(), Vec::new(), Vec::new());
        step(&mut now, event, Some(self.now), &mut actions);
        step(&mut at_start, event, None, &mut actions_at_start);
        assert_eq!((now, actions), (at_start, actions_at_start), "{event:?}");
    }

    /// The time passes until the deadline, if there is one.
    fn deadline_comes(&mut self) -> Option<Vec<Action>> {
        self.now = self.now.max(self.state.deadline()?);
        let actions = self.happens(Event::Deadline);
        let next = self.state.deadline();
        assert!(self.ended || next.is_none_or(|next| next > self.now), "the same deadline for ever");
        Some(actions)
    }

    /// Steps what the number stands for; false if it cannot happen here.
    fn may_happen(&mut self, which: usize) -> bool {
        let event = happening(which);
        if self.ended || (self.command_dead && which == 6) || (!self.command_dead && which == 11) {
            return false;
        }
        self.now += if which == LATER { at(1) } else { Duration::from_millis(1) };
        match which {
            IGNORED => self.inherited_as_ignored(event),
            HAPPENINGS => return self.deadline_comes().is_some(),
            _ => drop(self.happens(event)),
        }
        true
    }

    /// It is forwarded, and nothing begins by it.
    fn inherited_as_ignored(&mut self, event: Event) {
        self.state.ignore(Signal::INT);
        let before = self.state.clone();
        let actions = self.happens(event);
        let (request, held, times) = (before.stop_request, before.held, [before.call_at, before.kill_at]);
        let now = &self.state;
        assert_eq!((now.stop_request, now.held, [now.call_at, now.kill_at]), (request, held, times), "{actions:?}");
        assert!(!actions.iter().any(|action| matches!(action, Action::RequestOfLeftovers { .. })), "{actions:?}");
    }

    /// The command ends when a stop request or SIGKILL reaches it, and its leftovers when they are asked.
    fn ends_when_processes_obey(mut self) {
        let mut asked = !self.happens(term()).is_empty();
        for _ in 0..10 {
            if !self.command_dead && asked && (self.state.held.is_none() || self.state.killing.is_some()) {
                self.happens(died(COMMAND, Death::Exited(0)));
            } else if self.command_dead {
                let leftovers = self.happens(LEFT);
                // They may have been asked before.
                asked |= leftovers.iter().any(|action| matches!(action, Action::AskLeftovers(_)));
                if !self.ended && asked {
                    self.happens(NONE_LEFT);
                }
            } else {
                asked |= self.deadline_comes().is_some();
            }
            if self.ended {
                return;
            }
        }
        panic!("it does not end: {:?}", self.state);
    }

    /// Nobody ends, not even on SIGKILL.
    fn ends_with_a_grace_whatever_processes_do(mut self) {
        self.happens(term());
        for _ in 0..1_100 {
            if !self.ended {
                self.deadline_comes().expect("a deadline");
            }
            if !self.ended && self.command_dead {
                self.happens(LEFT);
            }
            if self.ended {
                return;
            }
        }
        panic!("it does not end: {:?}", self.state);
    }
}

/// Whatever happens in whatever order, up to a length, under every policy.
#[test]
fn every_sequence_of_events_keeps_the_promises() {
    let depth = std::env::var("TEST_DEPTH").map_or(4, |depth| depth.parse().expect("a number"));
    for policy in every_policy() {
        explore(&World::new(&policy), depth);
    }
}

fn explore(world: &World, depth: u32) {
    world.clone().ends_when_processes_obey();
    if depth == 0 {
        return;
    }
    for which in 0..=HAPPENINGS {
        let mut next = world.clone();
        // What changes nothing leads to what is explored anyway.
        if next.may_happen(which) && !next.ended && next.state != world.state {
            explore(&next, depth - 1);
        }
    }
}

#[test]
fn with_a_grace_every_stop_request_ends_whatever_processes_do() {
    for policy in every_policy().into_iter().filter(|(config, ..)| config.grace.is_some()) {
        let world = World::new(&policy);
        world.clone().ends_with_a_grace_whatever_processes_do();
        for first in 0..=HAPPENINGS {
            let mut next = world.clone();
            if next.may_happen(first) && !next.ended {
                next.ends_with_a_grace_whatever_processes_do();
            }
        }
    }
}

proptest! {
    #[test]
    fn long_sequences_of_events_keep_the_promises(
        policy in any::<proptest::sample::Index>(),
        sequence in proptest::collection::vec(0..=HAPPENINGS, 0..200),
    ) {
        let policies = every_policy();
        let policy = policy.get(&policies);
        let mut world = World::new(policy);
        for which in sequence {
            world.may_happen(which);
        }
        if !world.ended {
            world.clone().ends_when_processes_obey();
            if policy.0.grace.is_some() {
                world.ends_with_a_grace_whatever_processes_do();
            }
        }
    }
}
