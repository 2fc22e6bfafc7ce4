//! The table at the top of the policy says what the policy does.

use super::*;

/// The rows of the table: the event's name, then a cell for each state.
fn rows() -> Vec<Vec<&'static str>> {
    let lines = include_str!("../mod.rs").lines().filter_map(|line| line.strip_prefix("//! | "));
    lines.map(|line| line.trim_end_matches(" |").split(" | ").collect()).collect()
}

fn event(name: &str) -> Event {
    let signal = |number, sender| Event::Signal(delivery(number, sender));
    match name {
        "SIGTERM" => signal(15, OTHER),
        "SIGUSR1" => signal(10, OTHER),
        "SIGCONT" => signal(18, OTHER),
        "SIGTSTP, sent by the kernel" => signal(20, Sender::Kernel),
        "SIGCHLD" => signal(17, Sender::Kernel),
        "a signal that foster caused itself" => signal(13, Sender::Myself),
        "the command died" => died(COMMAND, Death::Exited(0)),
        "an orphan died" => died(99, Death::Exited(0)),
        "all dead children are reaped, others live" => LEFT,
        "all dead children are reaped, none is left" => NONE_LEFT,
        "SIGTSTP stopped the command" => stopped(Signal::TSTP),
        "SIGSTOP stopped the command" => stopped(Signal::STOP),
        "SIGUSR1 stopped the command, which is traced" => stopped(Signal::new(10).expect("USR1")),
        "a leftover died, and others live" => LEFT,
        "SIGTTIN stopped the command" => stopped(Signal::TTIN),
        "the terminal was to be had" => Event::Offered { pid: COMMAND, signal: Signal::TTIN, taken: true },
        "foster could not stop" => Event::NotSuspended,
        "leftovers cannot be found" => Event::LeftoversLost,
        "some may not be signalled" => Event::Asked { any_awaited: true, any_refused: true },
        "nobody who is left may be signalled" => Event::Asked { any_awaited: false, any_refused: true },
        "a signal could not be forwarded" => Event::NotForwarded(Signal::TERM),
        "the last call is due" | "the grace is over" => Event::Deadline,
        other => panic!("the table has an event that this test does not know: {other}"),
    }
}

fn in_state(name: &str) -> State {
    let wait = name == "leftovers are awaited (`--wait`)";
    let config = Config { grace: Some(at(25)), wait, ..Config::default() };
    let mut state = state(&config, false, true);
    let ended = died(COMMAND, Death::Exited(0));
    match name {
        "the command runs" => {}
        "it is stopped, and foster with it" => drop(steps(&mut state, &[stopped(Signal::TSTP)])),
        "it has ended" => drop(steps(&mut state, &[ended])),
        "leftovers are asked" | "leftovers are awaited (`--wait`)" => drop(steps(&mut state, &[ended, LEFT])),
        "`--pause`" => state = State::paused(&config, false),
        other => panic!("the table has a state that this test does not know: {other}"),
    }
    state
}

fn word(action: &Action) -> &'static str {
    match action {
        Action::Forward { .. } => "forward",
        Action::ForwardToLeftovers { .. } => "forward to leftovers",
        Action::RequestOfLeftovers { .. } => "ask this generation again",
        Action::AskLeftovers(_) => "ask this generation",
        Action::LastCall { .. } => "last call",
        Action::ContinueLeftovers => "continue leftovers",
        Action::Kill { .. } => "kill everybody",
        Action::SignalGroup { .. } => "ask group",
        Action::KillCommand(_) => "kill command",
        Action::Continue(_) => "continue command",
        Action::HandTerminal(_) => "hand terminal",
        Action::OfferTerminal { .. } => "offer terminal",
        Action::TakeTerminal(_) => "take terminal",
        Action::SuspendSelf(_) => "suspend foster",
        Action::SuspendGroup(_) => "suspend group",
        Action::Say(_) => "say",
        Action::NameLeftovers(_) => "name",
        Action::End(_) | Action::EndPause => "end",
    }
}

/// What the policy does, in the words of the table.
fn does(mut state: State, event: Event, name: &str) -> String {
    // A stop request has come before, where the grace of 25 s is to be over.
    let now = match name {
        "the last call is due" => at(26),
        "the grace is over" => at(3000),
        _ => at(3),
    };
    if event == Event::Deadline {
        steps(&mut state, &[term()]);
        if let Phase::Running { standing, .. } = &mut state.phase {
            *standing = Standing::Up;
        }
        state.roll_at = None;
    }
    if name == "a leftover died, and others live" {
        steps(&mut state, &[died(99, Death::Exited(0))]);
    }
    let had_clock = state.kill_at.is_some();
    let mut actions = Vec::new();
    step(&mut state, event, Some(now), &mut actions);
    let mut words: Vec<&str> = actions.iter().map(word).filter(|word| *word != "say").collect();
    if state.kill_at.is_some() && !had_clock {
        words.push("start the clock");
    }
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

#[test]
fn the_table_is_what_the_policy_does() {
    let rows = rows();
    let (states, rows) = rows.split_first().expect("a header");
    assert!(states.len() == 7 && rows.len() > 15, "{states:?}");
    for row in rows {
        let (name, cells) = row.split_first().expect("an event");
        assert_eq!(cells.len(), states.len() - 1, "{row:?}");
        for (state, cell) in states[1..].iter().zip(cells) {
            if *cell != "cannot be" {
                assert_eq!(does(in_state(state), event(name), name), *cell, "{name}, {state}");
            }
        }
    }
}
