//! Rules about stop requests, the grace and leftovers.

use super::*;

#[test]
fn every_signal_but_sigchld_and_the_c_librarys_two_is_forwarded() {
    for number in 1..=64 {
        let mut state = state(&Config::default(), true, false);
        let delivery = delivery(number, OTHER);
        let forward = Action::Forward { target: Target::Command(COMMAND), signal: delivery.signal, delivery };
        let expected = if matches!(number, 17 | 32 | 33) { vec![] } else { vec![forward] };
        assert_eq!(steps(&mut state, &[Event::Signal(delivery)]), expected, "signal {number}");
    }
}

#[test]
fn what_foster_caused_itself_is_not_forwarded() {
    let mut state = state(&Config::default(), true, false);
    for number in 1..=64 {
        assert_eq!(steps(&mut state, &[Event::Signal(delivery(number, Sender::Myself))]), []);
    }
}

#[test]
fn with_group_the_target_is_the_commands_group() {
    let config = Config { group: true, ..Config::default() };
    let actions = steps(&mut state(&config, true, false), &[Event::Signal(delivery(15, OTHER))]);
    assert!(matches!(actions[..], [Action::Forward { target: Target::Group(COMMAND), .. }]), "{actions:?}");
}

#[test]
fn a_rewrite_changes_the_signal_or_drops_it() {
    let mut config = Config::default();
    config.rewrites.add("TERM:QUIT").expect("valid");
    config.rewrites.add("HUP:0").expect("valid");
    let mut state = state(&config, true, false);
    let actions = steps(&mut state, &[Event::Signal(delivery(15, OTHER)), Event::Signal(delivery(1, OTHER))]);
    assert!(
        matches!(
            actions[..],
            [
                Action::Forward { signal: Signal::QUIT, .. },
                Action::Say(Report::Dropped(Delivery { signal: Signal::HUP, .. }))
            ]
        ),
        "{actions:?}"
    );
}

#[test]
fn foster_ends_once_everything_dead_is_reaped_and_not_before() {
    let mut state = state(&Config::default(), true, false);
    assert_eq!(steps(&mut state, &[died(99, Death::Exited(23)), Event::Drained { children_left: false }]), []);
    let ended = steps(&mut state, &[died(COMMAND, Death::Exited(4)), died(100, killed(Signal::KILL))]);
    assert!(matches!(ended[..], [Action::Say(Report::CommandEnded(CommandEnd { pid: COMMAND, .. }))]), "{ended:?}");
    assert_eq!(only_end(steps(&mut state, &[Event::Drained { children_left: false }])), Some(Outcome::Code(4)));
}

#[test]
fn after_the_commands_death_its_pid_is_never_named_again() {
    let config = Config { grace: Some(at(5)), ..Config::default() };
    for is_pid1 in [true, false] {
        let mut state = state(&config, is_pid1, true);
        steps(&mut state, &[died(COMMAND, Death::Exited(0))]);
        let events = [
            Event::Signal(delivery(15, OTHER)),
            Event::Signal(delivery(18, OTHER)),
            Event::ChildStopped { pid: COMMAND, signal: Signal::TSTP },
            Event::NotSuspended,
            Event::Drained { children_left: true },
            Event::Signal(delivery(15, OTHER)),
        ];
        let mut actions = steps(&mut state, &events);
        step(&mut state, Event::Deadline, Some(at(100)), &mut actions);
        assert!(actions.contains(&Action::Kill { again: false }), "{actions:?}");
        for action in actions {
            assert!(!names_the_command(action), "{action:?}");
        }
    }
}

#[test]
fn a_second_process_with_the_commands_old_pid_is_an_orphan() {
    let mut state = state(&Config::default(), true, false);
    steps(&mut state, &[died(COMMAND, Death::Exited(4)), died(COMMAND, Death::Exited(5))]);
    assert_eq!(only_end(steps(&mut state, &[Event::Drained { children_left: false }])), Some(Outcome::Code(4)));
}

#[test]
fn an_end_that_was_asked_for_is_told_from_an_incident() {
    let term = Event::Signal(delivery(15, OTHER));
    let usr1 = Event::Signal(delivery(10, OTHER));
    let asked = Cause::StopRequest { signal: Signal::TERM, sender: OTHER, took: Duration::ZERO };
    let usr1_death = killed(Signal::new(10).expect("USR1"));
    let segv = killed(Signal::new(11).expect("SEGV"));
    for (events, death, expected) in [
        (vec![], Death::Exited(0), Cause::Unasked),
        (vec![], Death::Exited(1), Cause::Unasked),
        (vec![], killed(Signal::KILL), Cause::Incident),
        (vec![], killed(Signal::TERM), Cause::Incident),
        (vec![term], Death::Exited(0), asked),
        (vec![term], killed(Signal::TERM), asked),
        (vec![term], segv, Cause::Incident),
        (vec![usr1], usr1_death, Cause::Forwarded),
        (vec![usr1], killed(Signal::KILL), Cause::Incident),
    ] {
        let mut state = state(&Config::default(), true, false);
        steps(&mut state, &events);
        assert_eq!(cause(&steps(&mut state, &[died(COMMAND, death)])), expected, "{events:?} {death:?}");
    }
}

/// What `--stop-delay` still holds has not asked the command for anything; whoever fails meanwhile has just failed.
#[test]
fn a_request_that_is_held_is_not_why_the_command_ended() {
    let config = Config { stop_delay: at(5), ..Config::default() };
    let asked = Cause::StopRequest { signal: Signal::TERM, sender: OTHER, took: Duration::ZERO };
    let int = Event::Signal(delivery(2, OTHER));
    for (events, death, expected) in [
        (vec![term()], Death::Exited(3), Cause::Unasked),
        (vec![term()], killed(Signal::TERM), Cause::Incident),
        (vec![term(), int], Death::Exited(3), asked),
        (vec![term(), int], killed(Signal::TERM), asked),
    ] {
        let mut state = state(&config, true, false);
        steps(&mut state, &events);
        assert_eq!(state.has_asked_command_to_stop(), expected == asked);
        assert_eq!(cause(&steps(&mut state, &[died(COMMAND, death)])), expected, "{events:?} {death:?}");
        let [Action::AskLeftovers(_)] = steps(&mut state, &[LEFT])[..] else { panic!("leftovers are asked") };
        let no_limit = Action::NameLeftovers(Roll::Awaited(None));
        assert_eq!(at_time(&mut state, 4, Event::Deadline), [no_limit], "a stop request came");
    }
}

#[test]
fn leftovers_are_asked_once_and_killed_ten_seconds_after_an_end_that_nobody_asked_for() {
    let mut state = state(&Config::default(), true, false);
    assert_eq!(state.deadline(), None, "no timer while the command runs");
    at_time(&mut state, 3, died(COMMAND, Death::Exited(4)));
    assert_eq!(at_time(&mut state, 3, LEFT), ASKED);
    assert_eq!(at_time(&mut state, 3, LEFT), [], "once");
    assert_eq!(state.deadline(), Some(at(4)));
    let roll = Action::NameLeftovers(Roll::Awaited(Some(at(9))));
    assert_eq!(at_time(&mut state, 4, Event::Deadline), [roll]);
    assert_eq!(state.deadline(), Some(at(11)));
    assert_eq!(at_time(&mut state, 11, Event::Deadline), [last_call(None)]);
    assert_eq!(state.deadline(), Some(at(13)));
    assert_eq!(at_time(&mut state, 13, Event::Deadline), KILLED);
    assert_eq!(only_end(at_time(&mut state, 13, NONE_LEFT)), Some(Outcome::Code(4)));
}

#[test]
fn after_a_stop_request_there_is_no_limit_unless_a_grace_is_set() {
    let mut state = state(&Config::default(), true, false);
    at_time(&mut state, 2, term());
    assert_eq!(state.deadline(), None);
    at_time(&mut state, 3, died(COMMAND, killed(Signal::TERM)));
    assert_eq!(at_time(&mut state, 3, LEFT), ASKED);
    assert_eq!(at_time(&mut state, 4, Event::Deadline), [Action::NameLeftovers(Roll::Awaited(None))]);
    assert_eq!(state.deadline(), Some(at(10)), "docker stop kills at 12");
    assert_eq!(at_time(&mut state, 10, Event::Deadline), [last_call(None)]);
    assert_eq!(state.deadline(), None);
    assert_eq!(only_end(at_time(&mut state, 999, NONE_LEFT)), Some(Outcome::Code(143)));
}

fn last_call(command: Option<i32>) -> Action {
    Action::LastCall { signal: Signal::TERM, command }
}

#[test]
fn one_grace_covers_the_command_and_its_leftovers() {
    let config = Config { grace: Some(at(25)), ..Config::default() };
    let mut state = state(&config, true, false);
    at_time(&mut state, 10, term());
    assert_eq!(state.deadline(), Some(at(33)));
    at_time(&mut state, 30, term());
    assert_eq!(state.deadline(), Some(at(33)), "a second request gives no more time");
    assert_eq!(at_time(&mut state, 33, Event::Deadline), [last_call(Some(COMMAND))]);
    assert_eq!(state.deadline(), Some(at(35)));
    at_time(&mut state, 33, died(COMMAND, Death::Exited(0)));
    assert_eq!(at_time(&mut state, 33, LEFT), ASKED);
    at_time(&mut state, 34, Event::Deadline);
    assert_eq!(at_time(&mut state, 35, Event::Deadline), KILLED);
}

#[test]
fn a_command_that_does_not_end_is_killed_with_everything_else() {
    let config = Config { grace: Some(at(5)), ..Config::default() };
    let mut state = state(&config, false, false);
    at_time(&mut state, 10, term());
    let [roll, kill] = KILLED;
    assert_eq!(at_time(&mut state, 15, Event::Deadline), [roll, Action::KillCommand(COMMAND), kill]);
    let ended = at_time(&mut state, 15, died(COMMAND, killed(Signal::KILL)));
    let asked = Cause::StopRequest { signal: Signal::TERM, sender: OTHER, took: at(5) };
    assert_eq!(cause(&ended), asked, "no incident");
    assert_eq!(at_time(&mut state, 15, LEFT), [], "they have been killed already");
    assert_eq!(only_end(at_time(&mut state, 16, NONE_LEFT)), Some(Outcome::Signal(Signal::KILL)));
}

#[test]
fn a_grace_of_0_means_at_once() {
    let config = Config { grace: Some(Duration::ZERO), ..Config::default() };
    let mut unasked = state(&config, true, false);
    at_time(&mut unasked, 3, died(COMMAND, Death::Exited(4)));
    assert_eq!(at_time(&mut unasked, 3, LEFT), KILLED);
    let mut asked = state(&config, true, false);
    assert!(matches!(at_time(&mut asked, 3, term())[..], [Action::Forward { .. }]));
    assert_eq!(asked.deadline(), Some(at(3)));
}

#[test]
fn without_leftovers_foster_ends_at_once() {
    for config in [Config::default(), Config { wait: true, grace: Some(at(5)), ..Config::default() }] {
        let mut state = state(&config, true, false);
        at_time(&mut state, 3, died(COMMAND, Death::Exited(4)));
        assert_eq!(only_end(at_time(&mut state, 3, NONE_LEFT)), Some(Outcome::Code(4)));
    }
}

#[test]
fn sigkill_is_repeated_and_given_up_in_the_end() {
    let config = Config { grace: Some(Duration::ZERO), ..Config::default() };
    let mut state = state(&config, false, false);
    at_time(&mut state, 3, died(COMMAND, Death::Exited(4)));
    at_time(&mut state, 3, LEFT);
    let again = state.deadline().expect("again");
    assert_eq!(again, at(3).saturating_add(Duration::from_millis(10)), "what has just forked is not waited for");
    let mut actions = Vec::new();
    step(&mut state, Event::Deadline, Some(again), &mut actions);
    assert_eq!(actions, [KILL_AGAIN]);
    let actions = at_time(&mut state, 13, Event::Deadline);
    let given_up = |action| matches!(action, Action::End(Summary { outcome: Outcome::Code(4), grace_over: true, .. }));
    assert!(matches!(actions[..], [Action::NameLeftovers(Roll::GivenUp), end] if given_up(end)), "{actions:?}");
}

#[test]
fn with_a_grace_even_an_unkillable_command_does_not_keep_foster() {
    for is_pid1 in [true, false] {
        let config = Config { grace: Some(at(1)), ok_stop: true, ..Config::default() };
        let mut state = state(&config, is_pid1, false);
        at_time(&mut state, 3, term());
        at_time(&mut state, 4, Event::Deadline);
        let actions = at_time(&mut state, 14, Event::Deadline);
        let [Action::NameLeftovers(Roll::GivenUp), Action::End(summary)] = actions[..] else { panic!("{actions:?}") };
        // No signal has ended it, so foster does not end by one either.
        assert_eq!((summary.end.death, summary.outcome), (None, Outcome::Code(137)));
        assert!(matches!(summary.end.cause, Cause::StopRequest { .. }) && summary.grace_over, "{summary:?}");
    }
}

#[test]
fn what_is_reaped_is_counted_as_what_it_was() {
    let config = Config { grace: Some(at(5)), ..Config::default() };
    let mut state = state(&config, true, false);
    let orphan = |death| died(99, death);
    at_time(&mut state, 3, orphan(killed(Signal::KILL)));
    at_time(&mut state, 3, died(COMMAND, Death::Exited(4)));
    at_time(&mut state, 3, orphan(Death::Exited(0)));
    at_time(&mut state, 3, LEFT);
    at_time(&mut state, 4, orphan(killed(Signal::TERM)));
    at_time(&mut state, 4, orphan(killed(Signal::KILL)));
    at_time(&mut state, 8, Event::Deadline);
    at_time(&mut state, 8, orphan(killed(Signal::KILL)));
    at_time(&mut state, 8, orphan(Death::Exited(1)));
    let actions = at_time(&mut state, 8, NONE_LEFT);
    let [Action::End(summary)] = actions[..] else { panic!("{actions:?}") };
    assert_eq!(summary.reaped, Reaped { orphans: 2, stopped: 3, killed: 1 });
    assert!(summary.grace_over);
}

#[test]
fn leftovers_that_cannot_be_found_are_not_waited_for() {
    let mut state = state(&Config::default(), false, false);
    assert_eq!(at_time(&mut state, 3, Event::LeftoversLost), [], "the command is not lost");
    at_time(&mut state, 3, died(COMMAND, Death::Exited(4)));
    at_time(&mut state, 3, LEFT);
    assert_eq!(only_end(at_time(&mut state, 3, Event::LeftoversLost)), Some(Outcome::Code(4)));
    let mut waiting = self::state(&Config { wait: true, ..Config::default() }, false, false);
    at_time(&mut waiting, 3, died(COMMAND, Death::Exited(4)));
    at_time(&mut waiting, 3, LEFT);
    assert_eq!(at_time(&mut waiting, 3, Event::LeftoversLost), [], "they still are what foster stays for");
}

#[test]
fn a_stop_request_that_comes_for_the_leftovers_goes_to_them() {
    let mut state = state(&Config { grace: Some(at(2)), ..Config::default() }, true, false);
    at_time(&mut state, 3, died(COMMAND, Death::Exited(4)));
    at_time(&mut state, 3, LEFT);
    assert_eq!(state.deadline(), Some(at(4)));
    let request = Action::RequestOfLeftovers { signal: Signal::TERM, delivery: delivery(15, OTHER) };
    assert_eq!(at_time(&mut state, 4, term()), [request]);
    at_time(&mut state, 4, Event::Deadline);
    at_time(&mut state, 5, Event::Deadline);
    assert_eq!(state.kill_at, Some(at(5)), "the deadline that was set does not move away");
}

#[test]
fn a_stop_request_is_held_for_the_delay_and_then_forwarded() {
    let config = Config { stop_delay: at(5), ..Config::default() };
    let mut state = state(&config, true, false);
    let sent = delivery(15, OTHER);
    assert_eq!(at_time(&mut state, 3, term()), [Action::Say(Report::Held { delivery: sent, delay: at(5) })]);
    let usr1 = at_time(&mut state, 4, Event::Signal(delivery(10, OTHER)));
    assert!(matches!(usr1[..], [Action::Forward { .. }]), "other signals are not held: {usr1:?}");
    assert_eq!(at_time(&mut state, 4, died(99, Death::Exited(0))), []);
    assert_eq!(state.deadline(), Some(at(8)));
    let forward = Action::Forward { target: Target::Command(COMMAND), signal: Signal::TERM, delivery: sent };
    assert_eq!(at_time(&mut state, 8, Event::Deadline), [forward]);
    assert_eq!(state.deadline(), None);
    assert_eq!(at_time(&mut state, 9, term()), [forward], "a later one is not held again");
}

#[test]
fn a_second_request_or_the_commands_end_cuts_the_delay_short() {
    let config = Config { stop_delay: at(5), ..Config::default() };
    let mut hurried = state(&config, true, false);
    at_time(&mut hurried, 3, term());
    let both = at_time(&mut hurried, 4, Event::Signal(delivery(2, OTHER)));
    assert!(
        matches!(both[..], [Action::Forward { signal: Signal::TERM, .. }, Action::Forward { signal: Signal::INT, .. }]),
        "{both:?}"
    );
    assert_eq!(hurried.deadline(), None);
    let mut ended = state(&config, true, false);
    at_time(&mut ended, 3, term());
    at_time(&mut ended, 4, died(COMMAND, Death::Exited(0)));
    assert_eq!(ended.deadline(), None);
    assert_eq!(only_end(at_time(&mut ended, 4, NONE_LEFT)), Some(Outcome::Code(0)));
}

#[test]
fn the_grace_counts_from_the_request_and_not_from_its_forwarding() {
    let config = Config { stop_delay: at(5), grace: Some(at(20)), ..Config::default() };
    let mut state = state(&config, true, false);
    at_time(&mut state, 10, term());
    at_time(&mut state, 15, Event::Deadline);
    assert_eq!(state.kill_at, Some(at(30)));
}

#[test]
fn with_wait_the_leftovers_are_left_alone_until_a_stop_request() {
    let config = Config { wait: true, grace: Some(at(5)), ..Config::default() };
    let mut state = state(&config, true, false);
    at_time(&mut state, 3, died(COMMAND, Death::Exited(0)));
    assert_eq!(at_time(&mut state, 3, LEFT), [Action::Say(Report::LeftoversAwaited)]);
    assert_eq!(state.deadline(), None);
    assert_eq!(at_time(&mut state, 50, LEFT), []);
    let forward = |number| Action::ForwardToLeftovers {
        signal: Signal::new(number).expect("a signal"),
        delivery: delivery(number, OTHER),
    };
    assert_eq!(at_time(&mut state, 60, Event::Signal(delivery(1, OTHER))), [forward(1)]);
    assert_eq!(state.deadline(), None, "SIGHUP is no stop request");
    let request = Action::RequestOfLeftovers { signal: Signal::TERM, delivery: delivery(15, OTHER) };
    assert_eq!(at_time(&mut state, 70, term()), [request]);
    assert_eq!(state.deadline(), Some(at(71)));
    at_time(&mut state, 71, Event::Deadline);
    assert_eq!(at_time(&mut state, 75, Event::Deadline), KILLED);
    assert_eq!(only_end(at_time(&mut state, 75, NONE_LEFT)), Some(Outcome::Code(0)));
}

#[test]
fn with_wait_a_stop_request_from_before_the_commands_end_is_not_forgotten() {
    let config = Config { wait: true, stop_delay: at(5), ..Config::default() };
    let mut state = state(&config, true, false);
    at_time(&mut state, 3, term());
    at_time(&mut state, 4, died(COMMAND, Death::Exited(0)));
    assert_eq!(at_time(&mut state, 4, LEFT), ASKED);
}

#[test]
fn a_dropped_stop_request_is_none() {
    let mut config = Config { grace: Some(at(5)), ..Config::default() };
    config.rewrites.add("TERM:0").expect("valid");
    let mut state = state(&config, true, false);
    at_time(&mut state, 3, term());
    assert_eq!(state.deadline(), None);
}

#[test]
fn with_ok_stop_only_the_end_by_the_requests_own_signal_is_0() {
    let mut config = Config { ok_stop: true, grace: Some(at(5)), ..Config::default() };
    config.rewrites.add("INT:USR1").expect("valid");
    let usr1 = Signal::new(10).expect("USR1");
    let int = Event::Signal(delivery(2, OTHER));
    let hup = Event::Signal(delivery(1, OTHER));
    for (events, death, expected) in [
        (vec![term()], killed(Signal::TERM), Outcome::Code(0)),
        (vec![term()], Death::Exited(143), Outcome::Code(0)),
        (vec![term()], Death::Exited(0), Outcome::Code(0)),
        (vec![int], killed(usr1), Outcome::Code(0)),
        (vec![int, term()], killed(Signal::TERM), Outcome::Code(0)),
        (vec![], killed(Signal::TERM), Outcome::Signal(Signal::TERM)),
        (vec![], Death::Exited(143), Outcome::Code(143)),
        (vec![term()], Death::Exited(1), Outcome::Code(1)),
        (vec![term()], Death::Exited(15), Outcome::Code(15)),
        (vec![term()], killed(Signal::INT), Outcome::Signal(Signal::INT)),
        (vec![int], killed(Signal::INT), Outcome::Signal(Signal::INT)),
        (vec![hup], killed(Signal::HUP), Outcome::Signal(Signal::HUP)),
        (vec![term(), Event::Deadline], killed(Signal::KILL), Outcome::Signal(Signal::KILL)),
    ] {
        let mut state = state(&config, false, false);
        for event in &events {
            at_time(&mut state, 3, *event);
        }
        at_time(&mut state, 3, died(COMMAND, death));
        // What arrives after the end has not caused it.
        at_time(&mut state, 3, term());
        assert_eq!(only_end(at_time(&mut state, 3, NONE_LEFT)), Some(expected), "{events:?} {death:?}");
    }
}

#[test]
fn a_request_that_is_still_held_has_not_ended_the_command() {
    let config = Config { ok_stop: true, stop_delay: at(5), ..Config::default() };
    let mut state = state(&config, true, false);
    at_time(&mut state, 3, term());
    at_time(&mut state, 4, died(COMMAND, killed(Signal::TERM)));
    assert_eq!(only_end(at_time(&mut state, 4, NONE_LEFT)), Some(Outcome::Code(143)));
}

#[test]
fn a_persona_may_leave_its_leftovers() {
    let config = with_ways(Ways { at_end: AtEnd::Leave, ends_by_code: true, ..Ways::default() });
    let mut state = state(&config, false, false);
    assert!(!state.asks_group());
    at_time(&mut state, 3, died(COMMAND, killed(Signal::TERM)));
    let end = at_time(&mut state, 3, LEFT);
    assert!(matches!(end.last(), Some(Action::End(Summary { outcome: Outcome::Code(143), .. }))), "{end:?}");
    assert!(!end.iter().any(|action| matches!(action, Action::AskLeftovers(_))), "{end:?}");
}

#[test]
fn a_persona_may_ask_the_commands_group_once_while_its_number_is_its_own() {
    let mut config = with_ways(Ways { at_end: AtEnd::AskGroup, ..Ways::default() });
    config.rewrites.add("TERM:QUIT").expect("valid");
    let mut asking = state(&config, false, false);
    assert!(asking.asks_group());
    assert_eq!(at_time(&mut asking, 3, Event::Unreaped { pid: 99 }), [], "an orphan");
    let ask = Action::SignalGroup { leader: COMMAND, signal: Signal::QUIT };
    assert_eq!(at_time(&mut asking, 3, Event::Unreaped { pid: COMMAND }), [ask]);
    assert_eq!(at_time(&mut asking, 3, Event::Unreaped { pid: COMMAND }), [], "once");
    at_time(&mut asking, 3, died(COMMAND, Death::Exited(4)));
    assert!(matches!(
        at_time(&mut asking, 3, LEFT).last(),
        Some(Action::End(Summary { outcome: Outcome::Code(4), .. }))
    ));
    assert_eq!(at_time(&mut asking, 3, Event::Unreaped { pid: COMMAND }), [], "never again");
    config.rewrites.add("TERM:0").expect("valid");
    let mut dropping = state(&config, false, false);
    assert_eq!(at_time(&mut dropping, 3, Event::Unreaped { pid: COMMAND }), []);
}

#[test]
fn a_pause_reaps_and_ends_on_sigterm_and_sigint_alone() {
    for is_pid1 in [true, false] {
        // Options about a command, which a pod may set for all its containers, change nothing.
        let mut config = Config { grace: Some(at(5)), stop_delay: at(2), wait: true, ..Config::default() };
        config.rewrites.add("TERM:0").expect("valid");
        let mut state = State::paused(&config, is_pid1);
        for number in (1..=64).filter(|number| ![2, 15].contains(number)) {
            assert_eq!(steps(&mut state, &[Event::Signal(delivery(number, OTHER))]), [], "signal {number}");
        }
        let mine = Event::Signal(delivery(15, Sender::Myself));
        let events =
            [died(0, Death::Exited(1)), died(99, killed(Signal::KILL)), LEFT, NONE_LEFT, Event::Deadline, mine];
        assert_eq!(steps(&mut state, &events), []);
        assert_eq!(state.deadline(), None);
        assert!(!state.is_command(0));
        for number in [2, 15] {
            let delivery = delivery(number, OTHER);
            let ended = [Action::Say(Report::PauseEnded { delivery, orphans: 2 }), Action::EndPause];
            assert_eq!(steps(&mut state.clone(), &[Event::Signal(delivery)]), ended);
        }
    }
}

#[test]
fn a_stop_request_is_not_held_from_leftovers_that_are_asked_already() {
    let config = Config { stop_delay: at(2), ..Config::default() };
    let mut state = state(&config, true, false);
    steps(&mut state, &[died(COMMAND, Death::Exited(0)), LEFT]);
    let asked = steps(&mut state, &[term()]);
    assert!(matches!(asked[..], [Action::RequestOfLeftovers { signal: Signal::TERM, .. }]), "{asked:?}");
}

#[test]
fn what_a_stop_request_is_the_configuration_says() {
    let mut config = Config { grace: Some(at(5)), ..Config::default() };
    let asks = |config: &Config, number| {
        let mut state = state(config, true, false);
        at_time(&mut state, 3, Event::Signal(delivery(number, OTHER)));
        state.deadline().is_some()
    };
    assert_eq!([15, 2, 3, 28, 10].map(|number| asks(&config, number)), [true, true, false, false, false]);
    config.stop_signals.insert(Signal::QUIT);
    config.stop_signals.insert(Signal::new(37).expect("RTMIN+3"));
    assert_eq!(
        [15, 2, 3, 37].map(|number| asks(&config, number)),
        [false, false, true, true],
        "they replace the default"
    );
    // What counts is what arrives.
    config.rewrites.add("QUIT:TERM").expect("valid");
    assert!(asks(&config, 3));
}

#[test]
fn a_thread_dump_delays_no_later_request_and_is_no_reason_for_the_end() {
    let config = Config { grace: Some(at(28)), stop_delay: at(5), ok_stop: true, ..Config::default() };
    let quit = Event::Signal(delivery(3, OTHER));
    let mut state = state(&config, true, false);
    assert!(matches!(at_time(&mut state, 3, quit)[..], [Action::Forward { signal: Signal::QUIT, .. }]));
    assert_eq!(state.deadline(), None);
    assert!(matches!(at_time(&mut state, 4, term())[..], [Action::Say(Report::Held { .. })]));
    let ended = at_time(&mut state, 5, died(COMMAND, Death::Exited(131)));
    assert_eq!(cause(&ended), Cause::Unasked);
    assert_eq!(only_end(at_time(&mut state, 5, NONE_LEFT)), Some(Outcome::Code(131)));
}

#[test]
fn what_was_inherited_as_ignored_is_forwarded_and_asks_for_nothing() {
    let config = Config { grace: Some(at(1)), ..Config::default() };
    let mut state = state(&config, false, false);
    state.ignore(Signal::INT);
    let int = Event::Signal(delivery(2, OTHER));
    assert!(matches!(at_time(&mut state, 3, int)[..], [Action::Forward { signal: Signal::INT, .. }]));
    assert_eq!(state.deadline(), None);
    at_time(&mut state, 4, term());
    assert!(state.deadline().is_some());
}

#[test]
fn the_same_request_within_a_second_is_one_if_it_is_held() {
    let config = Config { stop_delay: at(5), ..Config::default() };
    let mut held = state(&config, true, false);
    let (sent, same) = (delivery(15, OTHER), Action::Say(Report::SameRequest(delivery(15, OTHER))));
    at_time(&mut held, 3, term());
    let mut actions = Vec::new();
    step(&mut held, term(), Some(Duration::from_millis(3_999)), &mut actions);
    assert_eq!(actions, [same]);
    let forward = Action::Forward { target: Target::Command(COMMAND), signal: Signal::TERM, delivery: sent };
    assert_eq!(at_time(&mut held, 4, term()), [forward, forward], "a second later it is another one");
    let mut short = state(&Config { stop_delay: Duration::from_millis(100), ..Config::default() }, true, false);
    at_time(&mut short, 3, term());
    step(&mut short, Event::Deadline, Some(Duration::from_millis(3_100)), &mut Vec::new());
    let mut actions = Vec::new();
    step(&mut short, term(), Some(Duration::from_millis(3_500)), &mut actions);
    assert_eq!(actions, [same], "forwarded once, also when the delay is over");
    let mut plain = state(&Config::default(), true, false);
    assert_eq!(steps(&mut plain, &[term(), term()]), [forward, forward], "without a delay nothing is held back");
}

#[test]
fn the_next_generation_is_asked_when_one_of_the_last_has_died() {
    let config = Config { leftover_signal: Some(Signal::QUIT), ..Config::default() };
    let mut state = state(&config, true, false);
    let ask = Action::AskLeftovers(Signal::QUIT);
    assert_eq!(steps(&mut state, &[died(COMMAND, Death::Exited(0)), LEFT]).last(), Some(&ask));
    assert_eq!(steps(&mut state, &[HEARD, LEFT, LEFT]), [], "nobody has died");
    assert_eq!(steps(&mut state, &[died(98, Death::Exited(0)), died(99, Death::Exited(0)), LEFT, HEARD, LEFT]), [ask]);
    assert_eq!(only_end(steps(&mut state, &[died(97, Death::Exited(0)), NONE_LEFT])), Some(Outcome::Code(0)));
}

#[test]
fn the_last_call_is_a_quarter_of_a_short_grace_before_sigkill() {
    for (grace, call) in [(at(25), at(33)), (at(8), at(16)), (at(4), at(13)), (at(2), Duration::from_millis(11_500))] {
        let mut state = state(&Config { grace: Some(grace), ..Config::default() }, true, false);
        at_time(&mut state, 10, term());
        assert_eq!(state.deadline(), Some(call), "{grace:?}");
    }
}

#[test]
fn a_stop_request_after_the_last_call_is_no_reason_for_another_one() {
    let mut state = state(&Config { grace: Some(at(8)), ..Config::default() }, true, false);
    at_time(&mut state, 3, died(COMMAND, Death::Exited(0)));
    assert_eq!(at_time(&mut state, 3, LEFT), ASKED);
    assert!(at_time(&mut state, 9, Event::Deadline).contains(&last_call(None)));
    at_time(&mut state, 10, term());
    assert_eq!(state.deadline(), Some(at(11)), "SIGKILL is the next");
}

#[test]
fn without_a_grace_nobody_below_a_living_command_is_called() {
    let mut state = state(&Config::default(), true, false);
    at_time(&mut state, 3, term());
    assert_eq!(state.deadline(), None);
    assert_eq!(at_time(&mut state, 30, Event::Deadline), [], "its master may need all that the platform gives it");
    at_time(&mut state, 31, died(COMMAND, Death::Exited(0)));
    assert_eq!(at_time(&mut state, 31, LEFT), ASKED);
    assert_eq!(state.deadline(), Some(at(11)), "what is left has no such master");
    assert_eq!(at_time(&mut state, 31, Event::Deadline), [last_call(None)]);
}

#[test]
fn whom_foster_may_not_signal_is_named_once_and_not_waited_for() {
    let refused = |any_awaited| Event::Asked { any_awaited, any_refused: true };
    let mut some = state(&Config::default(), true, false);
    at_time(&mut some, 3, died(COMMAND, Death::Exited(4)));
    at_time(&mut some, 3, LEFT);
    assert_eq!(at_time(&mut some, 3, refused(true)), [Action::NameLeftovers(Roll::Refused)]);
    assert_eq!(at_time(&mut some, 4, refused(true)), []);
    assert_eq!(only_end(at_time(&mut some, 5, refused(false))), Some(Outcome::Code(4)), "the others have ended");
    let mut killing = state(&Config { grace: Some(at(1)), ..Config::default() }, true, false);
    at_time(&mut killing, 3, term());
    at_time(&mut killing, 4, Event::Deadline);
    let actions = at_time(&mut killing, 4, Event::KillRefused);
    let [Action::NameLeftovers(Roll::Refused), Action::End(summary)] = actions[..] else { panic!("{actions:?}") };
    assert_eq!((summary.end.death, summary.outcome), (None, Outcome::Code(137)));
}

#[test]
fn a_request_that_did_not_reach_the_command_did_not_end_it() {
    let mut state = state(&Config::default(), true, false);
    steps(&mut state, &[term(), Event::NotForwarded(Signal::TERM)]);
    let ended = steps(&mut state, &[died(COMMAND, Death::Exited(1))]);
    assert_eq!(cause(&ended), Cause::Unasked);
    let [Action::End(summary)] = steps(&mut state, &[NONE_LEFT])[..] else { panic!("it ends") };
    assert!(summary.is_abnormal(), "the termination log says so");
}

#[test]
fn the_clock_is_read_where_a_time_is_kept_and_not_for_each_orphan_and_signal() {
    let mut state = state(&Config::default(), true, false);
    assert!(state.needs_time(&term()));
    assert!(state.needs_time(&died(COMMAND, Death::Exited(0))));
    for event in [Event::Signal(delivery(10, OTHER)), died(99, Death::Exited(0)), LEFT, Event::Deadline] {
        assert!(!state.needs_time(&event), "{event:?}");
    }
    at_time(&mut state, 3, died(COMMAND, Death::Exited(0)));
    assert!(state.needs_time(&LEFT));
}

/// `--watch` looks at other times only.
#[test]
fn a_stop_is_under_way_from_the_request_or_the_commands_end_on_unless_daemons_are_awaited() {
    let ended = [died(COMMAND, Death::Exited(0)), Event::Drained { children_left: true }];
    for (wait, stopping) in [(false, true), (true, false)] {
        let mut state = state(&Config { wait, ..Config::default() }, true, false);
        steps(&mut state, &[Event::Signal(delivery(10, OTHER)), died(99, Death::Exited(1))]);
        assert!(!state.is_stopping());
        steps(&mut state, &ended);
        assert_eq!(state.is_stopping(), stopping, "--wait: {wait}");
        steps(&mut state, &[term()]);
        assert!(state.is_stopping());
    }
    for stop_delay in [Duration::ZERO, at(5)] {
        let mut state = state(&Config { stop_delay, ..Config::default() }, true, false);
        steps(&mut state, &[term()]);
        assert!(state.is_stopping(), "also while it is held");
    }
    assert!(!State::paused(&Config::default(), true).is_stopping());
}
