//! Rules about the terminal and about stopped commands.

use super::*;

#[test]
fn in_a_shell_ctrl_c_and_a_closed_pipe_are_no_incidents() {
    let end = |is_pid1, has_terminal, signal| {
        cause(&steps(&mut state(&Config::default(), is_pid1, has_terminal), &[died(COMMAND, killed(signal))]))
    };
    assert_eq!(end(false, true, Signal::INT), Cause::Terminal);
    assert_eq!(end(false, true, Signal::QUIT), Cause::Terminal);
    assert_eq!(end(false, true, Signal::KILL), Cause::Incident);
    assert_eq!(end(false, false, Signal::INT), Cause::Incident);
    assert_eq!(end(false, false, Signal::PIPE), Cause::Unasked);
    assert_eq!(end(true, false, Signal::PIPE), Cause::Incident);
}

/// The terminal sends it to the command alone, so foster knows of it by the exit code that programs make of it.
#[test]
fn a_ctrl_c_that_the_command_has_caught_is_known_by_its_exit_code() {
    let end = |has_terminal, events: &[Event], code| {
        let events = [events, &[died(COMMAND, Death::Exited(code))]].concat();
        cause(&steps(&mut state(&Config::default(), true, has_terminal), &events))
    };
    for (code, expected) in
        [(130, Cause::Terminal), (131, Cause::Terminal), (129, Cause::Terminal), (143, Cause::Unasked)]
    {
        assert_eq!(end(true, &[], code), expected, "{code}");
        assert_eq!(end(false, &[], code), Cause::Unasked, "{code}, away from a terminal");
    }
    assert_eq!(end(true, &[], 0), Cause::Unasked);
    let asked = end(true, &[Event::Signal(delivery(2, OTHER))], 130);
    assert!(matches!(asked, Cause::StopRequest { signal: Signal::INT, .. }), "{asked:?}");
    assert_eq!(end(true, &[Event::Signal(delivery(3, OTHER))], 131), Cause::Unasked, "it was forwarded");
}

#[test]
fn what_the_terminal_ended_the_command_with_is_for_fosters_group_too_if_foster_dies_of_it() {
    let plain = Config::default();
    let by_code = Config { ways: Ways { ends_by_code: true, ..Ways::default() }, ..Config::default() };
    let mut ok = Config::default();
    ok.ok_codes.insert(130);
    let (int, quit) = (killed(Signal::INT), killed(Signal::QUIT));
    let sent = vec![Event::Signal(delivery(2, OTHER))];
    for (config, is_pid1, has_terminal, events, death, expected) in [
        (&plain, false, true, vec![], int, Some(Signal::INT)),
        (&plain, false, true, vec![], quit, Some(Signal::QUIT)),
        (&plain, false, true, vec![], killed(Signal::HUP), None),
        (&plain, false, true, vec![], killed(Signal::TERM), None),
        (&plain, false, true, vec![], Death::Exited(130), None),
        (&plain, false, true, sent, int, None),
        (&plain, false, false, vec![], int, None),
        (&plain, true, true, vec![], int, None),
        (&by_code, false, true, vec![], int, None),
        (&ok, false, true, vec![], int, None),
    ] {
        let mut state = state(config, is_pid1, has_terminal);
        steps(&mut state, &events);
        steps(&mut state, &[died(COMMAND, death)]);
        let end = steps(&mut state, &[NONE_LEFT]);
        let [Action::End(summary)] = end[..] else { panic!("{end:?}") };
        assert_eq!(summary.group_signal, expected, "{death:?} {is_pid1} {has_terminal} {events:?}");
    }
}

#[test]
fn a_ctrl_z_for_leftovers_stops_foster_too_and_what_continues_it_continues_them() {
    for (wait, kernel_alone) in [(false, true), (true, true), (true, false)] {
        for number in [20, 21, 22] {
            let sender = if kernel_alone { Sender::Kernel } else { OTHER };
            let mut config = Config { wait, ..Config::default() };
            config.rewrites.add("CONT:0").expect("valid");
            let mut state = state(&config, false, true);
            steps(&mut state, &[died(COMMAND, Death::Exited(4)), LEFT]);
            let delivery = delivery(number, sender);
            let forward = Action::ForwardToLeftovers { signal: delivery.signal, delivery };
            let stopped = steps(&mut state, &[Event::Signal(delivery)]);
            if !kernel_alone && number != 20 {
                assert_eq!(stopped, [forward], "it was meant for them, and who catches it must not lose it");
                continue;
            }
            assert_eq!(stopped, [forward, Action::SuspendSelf(delivery.signal)]);
            let cont = Event::Signal(self::delivery(18, OTHER));
            assert_eq!(steps(&mut state, &[cont]), [Action::ContinueLeftovers]);
            let again = steps(&mut state, &[cont, Event::NotSuspended]);
            assert!(matches!(again[..], [Action::Say(Report::Dropped(_))]), "{again:?}");
        }
    }
}

#[test]
fn away_from_a_terminal_somebodys_sigtstp_for_leftovers_does_not_stop_foster() {
    for (sender, suspends) in [(OTHER, false), (Sender::Kernel, true)] {
        let mut state = state(&Config::default(), false, false);
        steps(&mut state, &[died(COMMAND, Death::Exited(4)), LEFT]);
        let actions = steps(&mut state, &[Event::Signal(delivery(20, sender))]);
        assert_eq!(actions.contains(&Action::SuspendSelf(Signal::TSTP)), suspends, "{actions:?}");
    }
}

#[test]
fn where_foster_cannot_stop_a_ctrl_z_for_leftovers_is_undone() {
    for is_pid1 in [true, false] {
        let mut state = state(&Config::default(), is_pid1, true);
        steps(&mut state, &[died(COMMAND, Death::Exited(4)), LEFT]);
        let delivery = delivery(20, Sender::Kernel);
        let forward = Action::ForwardToLeftovers { signal: Signal::TSTP, delivery };
        let suspend = Action::SuspendSelf(Signal::TSTP);
        let undone = [Action::Say(Report::LeftoversContinued(Signal::TSTP)), Action::ContinueLeftovers];
        let stopped = steps(&mut state, &[Event::Signal(delivery)]);
        if is_pid1 {
            assert_eq!(stopped, [&[forward][..], &undone].concat());
        } else {
            assert_eq!(stopped, [forward, suspend]);
            assert_eq!(steps(&mut state, &[Event::NotSuspended]), undone);
        }
    }
}

#[test]
fn a_persona_may_stop_when_it_is_told_and_not_when_its_command_stops() {
    let mut config = with_ways(Ways { stops_when_told: true, ..Ways::default() });
    config.rewrites.default_to(Signal::TSTP, Signal::STOP);
    config.rewrites.add("TTIN:0").expect("valid");
    let mut state = state(&config, false, false);
    let told = steps(&mut state, &[Event::Signal(delivery(20, OTHER))]);
    let suspend = Action::SuspendSelf(Signal::STOP);
    assert!(matches!(told[..], [Action::Forward { signal: Signal::STOP, .. }, last] if last == suspend), "{told:?}");
    assert_eq!(steps(&mut state, &[stopped(Signal::STOP)]), []);
    let resumed = steps(&mut state, &[Event::Signal(delivery(18, OTHER))]);
    assert!(matches!(resumed[..], [Action::Forward { signal: Signal::CONT, .. }]), "{resumed:?}");
    let dropped = steps(&mut state, &[Event::Signal(delivery(21, OTHER))]);
    assert!(matches!(dropped[..], [Action::Say(_), last] if last == suspend), "{dropped:?}");
    assert_eq!(steps(&mut state, &[Event::NotSuspended]), [], "PID 1 cannot be stopped");
}

/// What comes of a stop when the command cannot have the terminal.
fn stops(state: &mut State, signal: Signal) -> Vec<Action> {
    let mut actions = steps(state, &[stopped(signal)]);
    if actions == [Action::OfferTerminal { pid: COMMAND, signal }] {
        actions = steps(state, &[Event::Offered { pid: COMMAND, signal, taken: false }]);
    }
    actions
}

#[test]
fn a_command_that_stops_for_want_of_the_terminal_gets_it_if_foster_s_group_has_it() {
    for (is_pid1, signal) in [(false, Signal::TTIN), (false, Signal::TTOU), (true, Signal::TTIN)] {
        let mut state = state(&Config::default(), is_pid1, false);
        let offer = Action::OfferTerminal { pid: COMMAND, signal };
        assert_eq!(steps(&mut state, &[stopped(signal)]), [offer]);
        assert_eq!(steps(&mut state, &[Event::Offered { pid: 99, signal, taken: true }]), [], "of the command alone");
        let taken = Event::Offered { pid: COMMAND, signal, taken: true };
        assert_eq!(steps(&mut state, &[taken]), [Action::Continue(COMMAND)]);
        assert!(state.had_terminal);
        assert_eq!(steps(&mut state, &[taken]), [], "once");
        steps(&mut state, &[stopped(signal), died(COMMAND, Death::Exited(0))]);
        assert_eq!(steps(&mut state, &[taken]), [], "of the living");
    }
}

#[test]
fn as_a_wrapper_foster_stops_with_its_command_and_continues_with_it() {
    for has_terminal in [true, false] {
        let terminals = [Signal::TSTP, Signal::TTIN, Signal::TTOU];
        for signal in terminals.into_iter().chain(has_terminal.then_some(Signal::STOP)) {
            let mut state = state(&Config::default(), false, has_terminal);
            let taken = has_terminal.then_some(Action::TakeTerminal(COMMAND));
            let suspend = match signal {
                // It would hold foster also where nobody continues it.
                Signal::STOP => Action::SuspendSelf(Signal::TSTP),
                Signal::TSTP if !has_terminal => Action::SuspendSelf(signal),
                // The terminal's.
                _ => Action::SuspendGroup(signal),
            };
            let expected: Vec<_> = taken.into_iter().chain([suspend]).collect();
            assert_eq!(stops(&mut state, signal), expected);
            let cont = Event::Signal(delivery(18, OTHER));
            let resumed = [Action::HandTerminal(COMMAND), Action::Continue(COMMAND)];
            assert_eq!(steps(&mut state, &[cont]), resumed);
            let again = steps(&mut state, &[cont]);
            assert!(matches!(again[..], [Action::Forward { signal: Signal::CONT, .. }]), "{again:?}");
        }
    }
}

#[test]
fn a_stop_that_foster_forwarded_is_not_for_its_group_and_the_next_one_is() {
    for number in [20, 21, 22] {
        let mut state = state(&Config::default(), false, true);
        let (sent, signal) = (delivery(number, OTHER), Signal::new(number).expect("a signal"));
        let told = steps(&mut state, &[Event::Signal(sent), stopped(signal)]);
        assert_eq!(told.last(), Some(&Action::SuspendSelf(signal)));
        steps(&mut state, &[Event::Signal(delivery(18, OTHER))]);
        let next = stops(&mut state, signal);
        assert_eq!(next.last(), Some(&Action::SuspendGroup(signal)));
    }
}

#[test]
fn as_pid_1_only_a_ctrl_z_is_undone() {
    for (signal, continued) in
        [(Signal::TSTP, true), (Signal::STOP, false), (Signal::TTIN, false), (Signal::TTOU, false)]
    {
        let mut state = state(&Config::default(), true, false);
        let mut expected = vec![Action::Say(Report::CommandStopped { signal, continued })];
        expected.extend(continued.then_some(Action::Continue(COMMAND)));
        assert_eq!(stops(&mut state, signal), expected);
    }
}

#[test]
fn away_from_a_terminal_foster_goes_on_when_somebody_stops_its_command() {
    let mut state = state(&Config::default(), false, false);
    let told = Action::Say(Report::CommandStopped { signal: Signal::STOP, continued: false });
    assert_eq!(steps(&mut state, &[stopped(Signal::STOP)]), [told]);
}

#[test]
fn where_foster_cannot_stop_a_ctrl_z_is_undone_too() {
    let mut state = state(&Config::default(), false, true);
    let actions = steps(&mut state, &[stopped(Signal::TSTP), Event::NotSuspended]);
    let expected = [
        Action::TakeTerminal(COMMAND),
        Action::SuspendGroup(Signal::TSTP),
        Action::Say(Report::CommandStopped { signal: Signal::TSTP, continued: true }),
        Action::HandTerminal(COMMAND),
        Action::Continue(COMMAND),
    ];
    assert_eq!(actions, expected);
}

#[test]
fn where_foster_cannot_stop_a_command_that_somebody_stopped_stays_so_and_has_the_terminal() {
    let mut state = state(&Config::default(), false, true);
    let actions = steps(&mut state, &[stopped(Signal::STOP), Event::NotSuspended]);
    let expected = [
        Action::TakeTerminal(COMMAND),
        Action::SuspendSelf(Signal::TSTP),
        Action::Say(Report::CommandStopped { signal: Signal::STOP, continued: false }),
        Action::HandTerminal(COMMAND),
    ];
    assert_eq!(actions, expected);
    let asked = steps(&mut state, &[term()]);
    assert!(matches!(asked[..], [Action::Forward { .. }, Action::Continue(COMMAND)]), "{asked:?}");
}

#[test]
fn an_orphan_that_stops_is_its_own_affair() {
    let mut state = state(&Config::default(), false, true);
    assert_eq!(steps(&mut state, &[Event::ChildStopped { pid: 99, signal: Signal::TSTP }]), []);
}

#[test]
fn a_stop_request_continues_a_stopped_command() {
    let mut state = state(&Config::default(), true, false);
    let actions = steps(&mut state, &[stopped(Signal::STOP), term(), term()]);
    assert!(
        matches!(
            actions[..],
            [Action::Say(_), Action::Forward { .. }, Action::Continue(COMMAND), Action::Forward { .. }]
        ),
        "{actions:?}"
    );
}

#[test]
fn the_terminal_is_taken_back_when_the_command_has_ended() {
    let actions = steps(&mut state(&Config::default(), false, true), &[died(COMMAND, Death::Exited(0))]);
    assert!(actions.contains(&Action::TakeTerminal(COMMAND)), "{actions:?}");
    let actions = steps(&mut state(&Config::default(), false, false), &[died(COMMAND, Death::Exited(0))]);
    assert!(!actions.contains(&Action::TakeTerminal(COMMAND)), "{actions:?}");
}

#[test]
fn a_stopped_command_is_continued_for_a_stop_request_unless_it_was_already() {
    for (between, count) in [(10, 1), (18, 0)] {
        let mut state = state(&Config::default(), true, false);
        steps(&mut state, &[stopped(Signal::STOP), Event::Signal(delivery(between, OTHER))]);
        let asked = steps(&mut state, &[term()]);
        let continued = asked.iter().filter(|action| **action == Action::Continue(COMMAND)).count();
        assert_eq!(continued, count, "after signal {between}: {asked:?}");
    }
}

#[test]
fn a_traced_command_is_not_stopped_by_what_stops_nobody() {
    for number in (1..=64).filter(|number| ![19, 20, 21, 22].contains(number)) {
        for has_terminal in [true, false] {
            let mut state = state(&Config::default(), false, has_terminal);
            assert_eq!(steps(&mut state, &[stopped(Signal::new(number).expect("a signal"))]), [], "signal {number}");
        }
    }
}

#[test]
fn a_background_job_of_a_shell_without_job_control_takes_no_terminal() {
    let mut state = state(&Config::default(), false, false);
    let waits = Action::Say(Report::CommandStopped { signal: Signal::TTIN, continued: false });
    steps(&mut state, &[stopped(Signal::TTIN)]);
    let not_offered = Event::NotOffered { pid: COMMAND, signal: Signal::TTIN };
    assert_eq!(steps(&mut state, &[not_offered, Event::NotOffered { pid: 99, signal: Signal::TTIN }])[..1], [waits]);
}

#[test]
fn another_users_command_is_no_reason_to_signal_fosters_group() {
    let started = Started { pid: COMMAND, is_pid1: false, has_terminal: true, is_another_user: true };
    let mut state = State::new(&Config::default(), started);
    let stop = steps(&mut state, &[stopped(Signal::TSTP)]);
    assert_eq!(stop, [Action::TakeTerminal(COMMAND), Action::SuspendSelf(Signal::TSTP)]);
    steps(&mut state, &[Event::Signal(delivery(18, OTHER)), died(COMMAND, killed(Signal::INT))]);
    let [Action::End(summary)] = steps(&mut state, &[NONE_LEFT])[..] else { panic!("it ends") };
    assert_eq!(summary.group_signal, None);
}

#[test]
fn only_a_terminal_that_was_handed_over_counts_as_one() {
    for (handed, expected) in [(false, None), (true, Some(Signal::INT))] {
        let mut state = state(&Config::default(), false, false);
        steps(&mut state, &[stopped(Signal::TSTP), Event::Signal(delivery(18, OTHER))]);
        if handed {
            steps(&mut state, &[Event::TerminalHanded]);
        }
        steps(&mut state, &[died(COMMAND, killed(Signal::INT))]);
        let [Action::End(summary)] = steps(&mut state, &[NONE_LEFT])[..] else { panic!("it ends") };
        assert_eq!(summary.group_signal, expected);
    }
}
