//! Job control: who has the terminal, and who stops with whom.

use super::{Action, Phase, Standing, State};
use crate::facts::Report;
use crate::signal::{Delivery, Sender, Signal};

/// Stops foster by SIGSTOP, whether or not the command stops, as dumb-init does. Whoever sent the signal sends SIGCONT later,
/// and foster forwards that.
pub(super) fn stop_if_told(state: &State, signal: Signal, actions: &mut Vec<Action>) {
    let is_running = matches!(state.phase, Phase::Running { .. });
    if state.stops_when_told && is_running && matches!(signal, Signal::TSTP | Signal::TTIN | Signal::TTOU) {
        actions.push(Action::SuspendSelf(Signal::STOP));
    }
}

/// When the command has ended, foster has the terminal back. So a Ctrl-Z then is for foster too, and not only for the
/// leftovers that it was forwarded to. SIGTTIN and SIGTTOU stop foster only if the terminal sent them. Otherwise they are
/// meant for the leftovers: gunicorn changes its number of workers by them, and a SIGCONT just behind one would take it away
/// again (signal(7)).
pub(super) fn stop_with_leftovers(state: &mut State, delivery: Delivery, actions: &mut Vec<Action>) {
    let Phase::Ended { suspended, .. } = &mut state.phase else { return };
    let is_kernels = matches!(delivery.sender, Sender::Kernel);
    let stops = match delivery.signal {
        // Away from a terminal no shell would continue foster, and a stop request would find it standing still.
        Signal::TSTP => state.is_pid1 || state.had_terminal || is_kernels,
        Signal::TTIN | Signal::TTOU => is_kernels,
        _ => false,
    };
    if !stops {
        return;
    }
    *suspended = Some(delivery.signal);
    if state.is_pid1 {
        on_not_suspended(state, actions);
    } else {
        actions.push(Action::SuspendSelf(delivery.signal));
    }
}

/// The command stopped: Ctrl-Z, a read from the background, or somebody's SIGSTOP.
#[cold]
pub(super) fn on_stop(state: &mut State, pid: i32, signal: Signal, actions: &mut Vec<Action>) {
    let Phase::Running { pid: command, standing, .. } = &mut state.phase else { return };
    // Any other signal is a traced child's, which ptrace(2) stops for each of them. It has gone by now.
    if *command != pid || !signal.is_stop() {
        return;
    }
    *standing = Standing::Down;
    let was_forwarded = state.forwarded.contains(signal);
    // The next one may be the terminal's.
    state.forwarded = state.forwarded.without(signal);
    if state.stops_when_told {
        return;
    }
    match signal {
        Signal::TTIN | Signal::TTOU if !was_forwarded => actions.push(Action::OfferTerminal { pid, signal }),
        _ => stop_with_command(state, pid, signal, was_forwarded, actions),
    }
}

/// The command wanted the terminal, and foster's own group may have it. A shell hands the terminal to a pipeline once for each
/// member, also after foster has handed it on; and a job that `bg` has continued is not told of a later `fg`.
#[cold]
pub(super) fn on_offered(state: &mut State, pid: i32, signal: Signal, taken: bool, actions: &mut Vec<Action>) {
    match &mut state.phase {
        Phase::Running { pid: command, standing: standing @ Standing::Down, .. } if *command == pid => {
            if taken {
                *standing = Standing::Up;
                state.had_terminal = true;
                actions.push(Action::Continue(pid));
            } else {
                stop_with_command(state, pid, signal, false, actions);
            }
        }
        _ => {}
    }
}

#[cold]
pub(super) fn on_not_offered(state: &mut State, pid: i32, signal: Signal, actions: &mut Vec<Action>) {
    if matches!(state.phase, Phase::Running { pid: command, standing: Standing::Down, .. } if command == pid) {
        on_unresumable_stop(state, signal, actions);
    }
}

/// foster stops as its command was stopped, or the command is continued or left alone where that is no use.
fn stop_with_command(state: &mut State, pid: i32, signal: Signal, was_forwarded: bool, actions: &mut Vec<Action>) {
    let Phase::Running { standing, .. } = &mut state.phase else { return };
    // Away from a terminal a SIGSTOP is somebody's who will send the command its SIGCONT too, not foster.
    if state.is_pid1 || (signal == Signal::STOP && !state.had_terminal) {
        on_unresumable_stop(state, signal, actions);
        return;
    }
    *standing = Standing::Suspended(signal);
    if state.had_terminal {
        actions.push(Action::TakeTerminal(pid));
    }
    actions.push(match signal {
        // Not by SIGSTOP, which would stop foster also where no shell ever continues it. By any other stop signal the kernel
        // does not stop an orphaned process group, and that is NotSuspended (signal(7), get_signal in kernel/signal.c).
        Signal::STOP => Action::SuspendSelf(Signal::TSTP),
        // Whoever sent it to foster meant one process, or has sent it to the others as well.
        _ if was_forwarded => Action::SuspendSelf(signal),
        // It may have stopped itself, and has no business with the processes of foster's user.
        _ if state.is_another_user => Action::SuspendSelf(signal),
        Signal::TSTP if !state.had_terminal => Action::SuspendSelf(signal),
        // The terminal's own. Without foster it would have hit all of this group: a shell that runs a script and waits for
        // foster, the rest of a pipeline. The shell with the job control gives its prompt once all of them stand still.
        _ => Action::SuspendGroup(signal),
    });
}

#[cold]
pub(super) fn on_not_suspended(state: &mut State, actions: &mut Vec<Action>) {
    match &mut state.phase {
        Phase::Running { standing, .. } => {
            if let Standing::Suspended(signal) = *standing {
                *standing = Standing::Down;
                on_unresumable_stop(state, signal, actions);
            }
        }
        Phase::Ended { suspended, .. } => {
            if let Some(signal) = suspended.take() {
                actions.push(Action::Say(Report::LeftoversContinued(signal)));
                actions.push(Action::ContinueLeftovers);
            }
        }
        Phase::Paused => {}
    }
}

/// The command has stopped, and there is no shell that could ever `fg` it. foster undoes a Ctrl-Z. A SIGSTOP was meant by
/// whoever sent it. A command that reads from a terminal which it has not got would only be stopped again.
#[cold]
fn on_unresumable_stop(state: &mut State, signal: Signal, actions: &mut Vec<Action>) {
    let Phase::Running { pid, standing, .. } = &mut state.phase else { return };
    let continued = signal == Signal::TSTP;
    actions.push(Action::Say(Report::CommandStopped { signal, continued }));
    // foster may have taken it in order to stop, and whoever continues the command does not hand it over.
    if state.had_terminal {
        actions.push(Action::HandTerminal(*pid));
    }
    if continued {
        *standing = Standing::Up;
        actions.push(Action::Continue(*pid));
    }
}

/// foster itself was continued, by a shell's `fg` or `bg`; whether the command's group gets the terminal depends on
/// which of the two. False when foster had not been suspended.
pub(super) fn resume(state: &mut State, actions: &mut Vec<Action>) -> bool {
    match &mut state.phase {
        Phase::Running { pid, standing: standing @ Standing::Suspended(_), .. } => {
            *standing = Standing::Up;
            // It may have been started in the background, and `fg` gives it the terminal for the first time.
            actions.push(Action::HandTerminal(*pid));
            actions.push(Action::Continue(*pid));
            true
        }
        Phase::Ended { suspended: suspended @ Some(_), .. } => {
            *suspended = None;
            actions.push(Action::ContinueLeftovers);
            true
        }
        _ => false,
    }
}
