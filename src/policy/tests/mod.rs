//! Helpers for the tests of the policy.

mod explore;
mod jobs;
mod stop;
mod table;

pub(super) use super::*;
pub(super) use crate::config::Ways;
pub(super) use crate::exit::Outcome;
pub(super) use crate::facts::Cause;

pub(super) const COMMAND: i32 = 7;
pub(super) const OTHER: Sender = Sender::Process { pid: 42, uid: 0, name: None };

pub(super) fn state(config: &Config, is_pid1: bool, has_terminal: bool) -> State {
    State::new(config, Started { pid: COMMAND, is_pid1, has_terminal, is_another_user: false })
}

pub(super) fn delivery(signal: i32, sender: Sender) -> Delivery {
    Delivery { signal: Signal::new(signal).expect("a signal"), sender, payload: None }
}

pub(super) fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn steps(state: &mut State, events: &[Event]) -> Vec<Action> {
    let mut actions = Vec::new();
    for event in events {
        step(state, *event, Some(at(3)), &mut actions);
    }
    actions
}

pub(super) fn killed(signal: Signal) -> Death {
    Death::Killed { signal, core_dumped: false }
}

pub(super) fn died(pid: i32, death: Death) -> Event {
    Event::Died { pid, death, oom_kills: OomKills::NONE }
}

/// foster's outcome, if all that it does is end.
pub(super) fn only_end(actions: Vec<Action>) -> Option<Outcome> {
    match actions[..] {
        [Action::End(summary)] => Some(summary.outcome),
        _ => None,
    }
}

pub(super) fn cause(actions: &[Action]) -> Cause {
    let ended = actions.iter().find_map(|action| match action {
        Action::Say(Report::CommandEnded(end)) => Some(end.cause),
        _ => None,
    });
    ended.expect("the command's end is reported")
}

pub(super) fn names_the_command(action: Action) -> bool {
    matches!(
        action,
        Action::Forward { target: Target::Command(COMMAND) | Target::Group(COMMAND), .. }
            | Action::KillCommand(COMMAND)
            | Action::Continue(COMMAND)
            | Action::HandTerminal(COMMAND)
            | Action::OfferTerminal { pid: COMMAND, .. }
    )
}

pub(super) fn term() -> Event {
    Event::Signal(delivery(15, OTHER))
}

pub(super) fn at_time(state: &mut State, now: u64, event: Event) -> Vec<Action> {
    let mut actions = Vec::new();
    step(state, event, Some(at(now)), &mut actions);
    actions
}

pub(super) const ASKED: [Action; 1] = [Action::AskLeftovers(Signal::TERM)];
pub(super) const KILLED: [Action; 2] = [Action::NameLeftovers(Roll::Killed), Action::Kill { again: false }];
pub(super) const KILL_AGAIN: Action = Action::Kill { again: true };
pub(super) const HEARD: Event = Event::Asked { any_awaited: true, any_refused: false };
pub(super) const LEFT: Event = Event::Drained { children_left: true };
pub(super) const NONE_LEFT: Event = Event::Drained { children_left: false };

pub(super) fn with_ways(ways: Ways) -> Config<'static> {
    Config { ways, group: true, ..Config::default() }
}

pub(super) fn stopped(signal: Signal) -> Event {
    Event::ChildStopped { pid: COMMAND, signal }
}
