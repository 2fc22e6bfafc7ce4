//! Stop requests, the grace, and what becomes of leftovers.

use std::time::Duration;

use super::{Action, Held, Killing, Leftovers, Phase, Standing, State, StopRequest, forward_to_command};
use crate::config::{AtEnd, Config};
use crate::exit::{Death, Outcome};
use crate::facts::{Cause, CommandEnd, OomKills, Report, Roll, Summary};
use crate::signal::{Delivery, Signal};

/// How long leftovers are waited for in silence.
const ROLL_AFTER: Duration = Duration::from_secs(1);
/// The pause between two rounds of SIGKILL, in which foster reaps.
const KILL_AGAIN_AFTER: Duration = Duration::from_millis(10);
/// After this long, SIGKILL has either worked or never will: a process in uninterruptible sleep, or another user's.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// Two requests by the same signal within this time are one: some runtimes send each twice, milliseconds apart.
const SAME_REQUEST: Duration = Duration::from_secs(1);
/// The last call comes this long before SIGKILL, or a quarter of the grace before it if that is shorter.
const LAST_CALL: Duration = Duration::from_secs(2);
/// Without a grace the platform kills, and `docker stop` does so after 10 s. The last call comes this long after the request.
pub const CALL_AFTER_REQUEST: Duration = Duration::from_secs(8);

/// Holds the first stop request for `--stop-delay`, or forwards it. A second one releases the first, and both are forwarded,
/// unless it is the same one.
pub(super) fn on_request(
    state: &mut State,
    delivery: Delivery,
    signal: Signal,
    now: Duration,
    actions: &mut Vec<Action>,
) {
    let is_first = state.stop_request.is_none();
    if !state.stop_delay.is_zero() && is_same_request(state, delivery.signal, now) {
        actions.push(Action::Say(Report::SameRequest(delivery)));
        return;
    }
    note_stop_request(state, delivery, now);
    if is_first && !state.stop_delay.is_zero() && !state.is_asking_leftovers() {
        state.held = Some(Held { delivery, signal, until: now.saturating_add(state.stop_delay) });
        actions.push(Action::Say(Report::Held { delivery, delay: state.stop_delay }));
        return;
    }
    release(state, now, actions);
    forward_request(state, delivery, signal, now, actions);
}

fn is_same_request(state: &State, signal: Signal, now: Duration) -> bool {
    state.stop_request.is_some_and(|first| first.signal == signal && now.saturating_sub(first.at) < SAME_REQUEST)
}

/// The first stop request starts the clock of `--grace`.
fn note_stop_request(state: &mut State, delivery: Delivery, now: Duration) {
    if state.stop_request.is_some() {
        return;
    }
    state.stop_request = Some(StopRequest { signal: delivery.signal, sender: delivery.sender, at: now });
    match state.grace {
        Some(grace) => kill_by(state, now, grace),
        None if state.kill_at.is_none() => call_by(state, now.saturating_add(CALL_AFTER_REQUEST)),
        None => {}
    }
}

/// Sets the deadline of SIGKILL, and that of the last call with it. Neither ever moves away, and after the last call there is
/// no other one.
fn kill_by(state: &mut State, now: Duration, grace: Duration) {
    let when = now.saturating_add(grace);
    if state.kill_at.is_some_and(|earlier| earlier <= when) {
        return;
    }
    state.kill_at = Some(when);
    call_by(state, when.saturating_sub(last_call_before(grace)));
}

/// How long before SIGKILL the last call comes.
pub fn last_call_before(grace: Duration) -> Duration {
    LAST_CALL.min(grace.checked_div(4).unwrap_or_default())
}

fn call_by(state: &mut State, when: Duration) {
    state.call_at = Some(state.call_at.map_or(when, |earlier| earlier.min(when)));
}

/// Forwards the stop request that was held, if one was.
fn release(state: &mut State, now: Duration, actions: &mut Vec<Action>) {
    if let Some(held) = state.held.take() {
        forward_request(state, held.delivery, held.signal, now, actions);
    }
}

fn forward_request(state: &mut State, delivery: Delivery, signal: Signal, now: Duration, actions: &mut Vec<Action>) {
    match &mut state.phase {
        Phase::Running { pid, standing, .. } => {
            let (pid, stood) = (*pid, std::mem::replace(standing, Standing::Up));
            forward_to_command(state, delivery, signal, actions);
            state.asked_with.insert(signal);
            // A stopped process takes only SIGKILL and SIGCONT. A shell's kill builtin continues its stopped job too.
            if stood != Standing::Up {
                actions.push(Action::Continue(pid));
            }
        }
        Phase::Ended { leftovers, .. } => {
            if *leftovers == Leftovers::Awaited {
                *leftovers = Leftovers::Asked;
                state.roll_at = Some(now.saturating_add(ROLL_AFTER));
            }
            actions.push(Action::RequestOfLeftovers { signal, delivery });
        }
        // There is nobody to forward to.
        Phase::Paused => {}
    }
}

/// A request that did not reach the command has not asked it for anything.
pub(super) fn on_not_forwarded(state: &mut State, signal: Signal) {
    state.forwarded = state.forwarded.without(signal);
    state.asked_with = state.asked_with.without(signal);
}

/// Asks the group of the command that has just died. Later would be too late: once the command is reaped, its group may be
/// empty, and the number another's.
pub(super) fn on_unreaped(state: &mut State, pid: i32, actions: &mut Vec<Action>) {
    if !state.is_command(pid) || state.at_end != AtEnd::AskGroup {
        return;
    }
    state.at_end = AtEnd::Leave;
    if let Some(signal) = state.rewrites.apply(Signal::TERM) {
        actions.push(Action::SignalGroup { leader: pid, signal });
    }
}

/// The command is gone.
pub(super) fn on_command_death(
    state: &mut State,
    death: Death,
    oom_kills: OomKills,
    now: Duration,
    actions: &mut Vec<Action>,
) {
    let Phase::Running { pid, since, .. } = state.phase else { return };
    let ran = now.saturating_sub(since);
    let end = CommandEnd { pid, death: Some(death), ran, cause: cause_of(state, Some(death), now), oom_kills };
    actions.push(Action::Say(Report::CommandEnded(end)));
    // From here on Ctrl-C is for foster, whose leftovers may take their time.
    if state.had_terminal {
        actions.push(Action::TakeTerminal(pid));
    }
    // A stop request that was held has got what it asked for.
    state.held = None;
    state.phase = Phase::Ended { end, leftovers: Leftovers::Unseen, suspended: None };
}

/// Counts an orphan as what it was.
pub(super) fn on_orphan_death(state: &mut State, death: Death) {
    let was_asked = state.is_asking_leftovers();
    // What it left comes to foster.
    state.may_have_heirs |= was_asked;
    let reaped = &mut state.reaped;
    let count = match death {
        Death::Killed { signal: Signal::KILL, .. } if state.killing.is_some() => &mut reaped.killed,
        _ if was_asked => &mut reaped.stopped,
        _ => &mut reaped.orphans,
    };
    *count = count.saturating_add(1);
}

pub(super) fn on_drained(state: &mut State, children_left: bool, now: Duration, actions: &mut Vec<Action>) {
    let Phase::Ended { end, leftovers, .. } = &mut state.phase else { return };
    if !children_left || state.at_end != AtEnd::StopLeftovers {
        let end = *end;
        actions.push(Action::End(summary(state, end)));
        return;
    }
    match leftovers {
        Leftovers::Unseen if state.wait && state.stop_request.is_none() => {
            *leftovers = Leftovers::Awaited;
            actions.push(Action::Say(Report::LeftoversAwaited));
        }
        Leftovers::Unseen => {
            *leftovers = Leftovers::Asked;
            stop_leftovers(state, now, actions);
        }
        // The children of one that has died may be there now: the next generation.
        Leftovers::Asked if state.may_have_heirs && state.killing.is_none() => {
            state.may_have_heirs = false;
            actions.push(Action::AskLeftovers(state.leftover_signal));
        }
        Leftovers::Asked | Leftovers::Awaited => {}
    }
}

fn stop_leftovers(state: &mut State, now: Duration, actions: &mut Vec<Action>) {
    if state.killing.is_some() {
        return;
    }
    if state.stop_request.is_none() {
        kill_by(state, now, state.grace.unwrap_or(Config::LEFTOVER_GRACE));
    }
    if state.kill_at.is_some_and(|when| when <= now) {
        kill(state, now, actions);
        return;
    }
    state.roll_at = Some(now.saturating_add(ROLL_AFTER));
    actions.push(Action::AskLeftovers(state.leftover_signal));
}

/// Nobody waits for whom the kernel does not let foster signal: it could only be in vain. As PID 1, foster's end is theirs.
pub(super) fn on_asked(state: &mut State, any_awaited: bool, any_refused: bool, actions: &mut Vec<Action>) {
    let Phase::Ended { end, .. } = state.phase else { return };
    if any_refused && !state.told_refused {
        state.told_refused = true;
        actions.push(Action::NameLeftovers(Roll::Refused));
    }
    if any_refused && !any_awaited {
        actions.push(Action::End(summary(state, end)));
    }
}

pub(super) fn on_kill_refused(state: &mut State, now: Duration, actions: &mut Vec<Action>) {
    if state.killing.is_some() {
        give_up(state, Roll::Refused, now, actions);
    }
}

pub(super) fn on_deadline(state: &mut State, now: Duration, actions: &mut Vec<Action>) {
    if state.held.is_some_and(|held| held.until <= now) {
        release(state, now, actions);
    }
    if let Some(killing) = &mut state.killing {
        if killing.again_at <= now {
            if now.saturating_sub(killing.since) >= GIVE_UP_AFTER {
                give_up(state, Roll::GivenUp, now, actions);
                return;
            }
            killing.again_at = now.saturating_add(KILL_AGAIN_AFTER);
            actions.push(Action::Kill { again: true });
        }
    } else if state.kill_at.is_some_and(|when| when <= now) {
        kill(state, now, actions);
    } else if state.call_due().is_some_and(|when| when <= now) {
        call(state, now, actions);
    }
    if state.roll_at.is_some_and(|when| when <= now) {
        state.roll_at = None;
        let left = state.kill_at.map(|when| when.saturating_sub(now));
        actions.push(Action::NameLeftovers(Roll::Awaited(left)));
    }
}

/// The last call: whoever was never asked hears it now, while there is still some time to obey.
fn call(state: &mut State, now: Duration, actions: &mut Vec<Action>) {
    state.call_at = None;
    release(state, now, actions);
    let command = match state.phase {
        Phase::Running { pid, .. } => Some(pid),
        Phase::Ended { .. } | Phase::Paused => None,
    };
    actions.push(Action::LastCall { signal: state.leftover_signal, command });
}

/// The time is up, for the command and for all that it left.
fn kill(state: &mut State, now: Duration, actions: &mut Vec<Action>) {
    state.killing = Some(Killing { since: now, again_at: now.saturating_add(KILL_AGAIN_AFTER) });
    state.roll_at = None;
    state.forwarded.insert(Signal::KILL);
    actions.push(Action::NameLeftovers(Roll::Killed));
    if let Phase::Running { pid, .. } = state.phase {
        actions.push(Action::KillCommand(pid));
    }
    actions.push(Action::Kill { again: false });
}

/// Nobody can ask or kill what cannot be found, so there is nothing to wait for.
#[cold]
pub(super) fn on_leftovers_lost(state: &State, actions: &mut Vec<Action>) {
    if let Phase::Ended { end, leftovers: Leftovers::Asked, .. } = state.phase {
        actions.push(Action::End(summary(state, end)));
    }
}

/// As PID 1, foster's end is theirs too: the kernel sees to it.
fn give_up(state: &State, why: Roll, now: Duration, actions: &mut Vec<Action>) {
    let end = match state.phase {
        // A pause kills nobody.
        Phase::Paused => return,
        Phase::Ended { end, .. } => end,
        Phase::Running { pid, since, .. } => {
            let ran = now.saturating_sub(since);
            CommandEnd { pid, death: None, ran, cause: cause_of(state, None, now), oom_kills: OomKills::NONE }
        }
    };
    actions.push(Action::NameLeftovers(why));
    actions.push(Action::End(summary(state, end)));
}

fn summary(state: &State, end: CommandEnd) -> Summary {
    // A command that SIGKILL did not end has no signal that foster could end by as well.
    let killed = Death::Killed { signal: Signal::KILL, core_dumped: false };
    let outcome = match end.death {
        Some(death) => state.outcome(death),
        None => Outcome::of(killed, &state.ok_codes, true),
    };
    // The terminal sent it to the command's group alone. Without foster the rest of the job would have got it too: a shell
    // ends its script only if it got the signal itself and its child died of it.
    let group_signal = match outcome {
        Outcome::Signal(signal @ (Signal::INT | Signal::QUIT))
            if end.cause == Cause::Terminal && !state.is_another_user =>
        {
            Some(signal)
        }
        _ => None,
    };
    Summary { end, reaped: state.reaped, grace_over: state.killing.is_some(), outcome, group_signal }
}

impl State {
    /// Whether a stop is under way: foster was asked for one, or the command has ended and leaves nothing to wait for with
    /// `--wait`. Then foster has more urgent things to do than to look around (`--watch`).
    pub fn is_stopping(&self) -> bool {
        let is_over = matches!(&self.phase, Phase::Ended { leftovers, .. } if *leftovers != Leftovers::Awaited);
        self.stop_request.is_some() || is_over
    }

    /// When the last call is to be made, if it can be made now: below a command that lives, only if a deadline of foster's own
    /// is set. Its master may need all the time that the platform gives it.
    pub(super) fn call_due(&self) -> Option<Duration> {
        let is_asking = matches!(self.phase, Phase::Ended { leftovers: Leftovers::Asked, .. });
        self.call_at.filter(|_| self.killing.is_none() && (is_asking || self.kill_at.is_some()))
    }

    fn is_asking_leftovers(&self) -> bool {
        matches!(self.phase, Phase::Ended { leftovers: Leftovers::Asked, .. })
    }

    /// What foster makes of the command's death. With `-e stop`, an end by the signal that asked for it is a success. So is
    /// the exit code that a shell or a JVM makes of that signal after it has caught it: both look the same from outside.
    fn outcome(&self, death: Death) -> Outcome {
        let by_request = by_signal(death).is_some_and(|signal| self.asked_with.contains(signal));
        if self.ok_stop && by_request {
            return Outcome::Code(0);
        }
        Outcome::of(death, &self.ok_codes, self.ends_by_code)
    }
}

/// Whether the command's end was somebody's wish. A crash during a requested stop is still a crash.
fn cause_of(state: &State, death: Option<Death>, now: Duration) -> Cause {
    let killed_by = match death {
        Some(Death::Killed { signal, .. }) => Some(signal),
        Some(Death::Exited(_)) | None => None,
    };
    // A terminal's Ctrl-C goes to the command alone. A command that has caught it says so by its exit code, if it keeps to
    // what shells, the JVM and others do. Where it exits with another, foster cannot know of the Ctrl-C.
    let from_terminal = death.and_then(by_signal).filter(|signal| is_terminals(*signal) && state.had_terminal);
    let is_terminals_doing = from_terminal.is_some_and(|signal| !state.forwarded.contains(signal));
    match (killed_by, state.request_to_command()) {
        (Some(_), _) | (None, None) if is_terminals_doing => Cause::Terminal,
        // In a pipeline a reader that has seen enough ends its writer this way; no shell says a word about it.
        (Some(Signal::PIPE), _) if !state.is_pid1 => Cause::Unasked,
        (Some(signal), _) if !state.forwarded.contains(signal) => Cause::Incident,
        (_, Some(request)) => {
            Cause::StopRequest { signal: request.signal, sender: request.sender, took: now.saturating_sub(request.at) }
        }
        (Some(_), None) => Cause::Forwarded,
        (None, None) => Cause::Unasked,
    }
}

/// The signal that ended it, or that it has caught and names in its exit code, as shells and the JVM do.
fn by_signal(death: Death) -> Option<Signal> {
    Signal::new(i32::from(death.code()).saturating_sub(128))
}

/// The signals that a terminal sends to its foreground group by itself: Ctrl-C, Ctrl-\ and the line going away.
fn is_terminals(signal: Signal) -> bool {
    matches!(signal, Signal::INT | Signal::QUIT | Signal::HUP)
}
