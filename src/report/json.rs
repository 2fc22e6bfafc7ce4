//! What a line is called as JSON, and its keys. Keys are stable; docs/diagnostics.md explains each.

use nix::errno::Errno;

use super::words::Scene;
use crate::exit::{Death, Outcome};
use crate::facts::{Cause, CommandEnd, Lack, OomKills, Orphan, Report, Summary};
use crate::output::Object;
use crate::signal::{Delivery, Sender};
use crate::text::OneLine;

/// What the line is about, as JSON calls it; docs/diagnostics.md explains each.
pub fn event(report: &Report) -> &'static str {
    match report {
        Report::Started { .. } => "started",
        Report::Received(_) => "received",
        Report::Forwarded { .. } => "forwarded",
        Report::ForwardTooLate(_) => "forward_too_late",
        Report::ForwardFailed { .. } => "forward_failed",
        Report::Dropped(_) => "dropped",
        Report::Held { .. } => "held",
        Report::CommandStopped { .. } => "command_stopped",
        Report::LeftoversAsked { .. } => "leftovers_asked",
        Report::LastCall { .. } => "last_call",
        Report::SameRequest(_) => "same_request",
        Report::LeftoversAwaited => "leftovers_awaited",
        Report::LeftoversContinued(_) => "leftovers_continued",
        Report::ForwardedToLeftovers { .. } => "forwarded_to_leftovers",
        Report::LeftoversUnknown(_) => "leftovers_unknown",
        Report::Orphan(_) => "orphan",
        Report::CommandEnded(_) => "command_ended",
        Report::Finished(_) => "finished",
        Report::Paused => "paused",
        Report::PauseEnded { .. } => "pause_ended",
        Report::OrphansElsewhere => "orphans_elsewhere",
        Report::Degraded { .. } => "degraded",
    }
}

/// The line's facts.
pub fn members(object: &mut Object<'_>, report: &Report, scene: &Scene<'_>) {
    if is_about_command(report) {
        object.text("command", OneLine(scene.command));
    }
    match report {
        Report::Started { pid } => object.plain("pid", pid),
        Report::Received(delivery) | Report::Dropped(delivery) | Report::SameRequest(delivery) => {
            delivery_members(object, *delivery)
        }
        Report::Forwarded { delivery, signal, group } => {
            delivery_members(object, *delivery);
            object.text("forwarded_as", signal);
            object.plain("to_group", group);
        }
        Report::ForwardedToLeftovers { delivery, signal } => {
            delivery_members(object, *delivery);
            object.text("forwarded_as", signal);
        }
        Report::ForwardTooLate(signal) | Report::LeftoversContinued(signal) => object.text("signal", signal),
        Report::ForwardFailed { signal, errno } => {
            object.text("signal", signal);
            errno_members(object, *errno);
        }
        Report::Held { delivery, delay } => {
            delivery_members(object, *delivery);
            object.seconds("delay_s", *delay);
        }
        Report::CommandStopped { signal, continued } => {
            object.text("signal", signal);
            object.plain("continued", continued);
        }
        Report::LeftoversAsked { signal, count, .. } | Report::LastCall { signal, count } => {
            object.text("signal", signal);
            object.plain("process_count", count);
        }
        Report::LeftoversAwaited | Report::Paused | Report::OrphansElsewhere => {}
        Report::PauseEnded { delivery, orphans } => {
            delivery_members(object, *delivery);
            object.plain("orphans_reaped", orphans);
        }
        Report::LeftoversUnknown(errno) => errno_members(object, *errno),
        Report::Degraded { what, errno } => degraded_members(object, *what, *errno, scene),
        Report::Orphan(orphan) => orphan_members(object, orphan),
        Report::CommandEnded(end) => end_members(object, end),
        Report::Finished(summary) => summary_members(object, summary),
    }
}

fn is_about_command(report: &Report) -> bool {
    !matches!(
        report,
        Report::Received(_)
            | Report::Orphan(_)
            | Report::Degraded { .. }
            | Report::Paused
            | Report::PauseEnded { .. }
            | Report::OrphansElsewhere
    )
}

fn degraded_members(object: &mut Object<'_>, what: Lack, errno: Errno, scene: &Scene<'_>) {
    if matches!(what, Lack::TerminationLog | Lack::LastWord) {
        object.text("path", OneLine(scene.termination_log));
    }
    errno_members(object, errno);
}

fn summary_members(object: &mut Object<'_>, summary: &Summary) {
    end_members(object, &summary.end);
    object.plain("orphans_reaped", summary.reaped.orphans);
    object.plain("leftovers_stopped", summary.reaped.stopped);
    object.plain("leftovers_killed", summary.reaped.killed);
    object.plain("grace_over", summary.grace_over);
    match summary.outcome {
        Outcome::Code(code) => object.plain("exit_code", code),
        Outcome::Signal(signal) => object.text("exit_signal", signal),
    }
}

fn orphan_members(object: &mut Object<'_>, orphan: &Orphan) {
    object.plain("pid", orphan.pid);
    if let Some(name) = orphan.name {
        object.text("name", name);
    }
    death_members(object, orphan.death);
    if let Some(age) = orphan.age {
        object.seconds("age_s", age);
    }
    object.seconds("cpu_s", orphan.cpu);
    object.plain("max_rss_kib", orphan.max_rss_kib);
    oom_members(object, orphan.oom_kills);
}

fn end_members(object: &mut Object<'_>, end: &CommandEnd) {
    object.plain("pid", end.pid);
    match end.death {
        Some(death) => death_members(object, death),
        None => object.plain("did_not_end", true),
    }
    object.seconds("ran_s", end.ran);
    object.text(
        "cause",
        match end.cause {
            Cause::Unasked => "unasked",
            Cause::StopRequest { .. } => "stop_request",
            Cause::Forwarded => "forwarded_signal",
            Cause::Terminal => "terminal",
            Cause::Incident => "incident",
        },
    );
    if let Cause::StopRequest { signal, sender, took } = end.cause {
        object.text("stop_signal", signal);
        sender_members(object, sender);
        object.seconds("stop_took_s", took);
    }
    oom_members(object, end.oom_kills);
}

fn oom_members(object: &mut Object<'_>, oom_kills: OomKills) {
    match oom_kills {
        OomKills::Rose(count) => object.plain("oom_kills", count),
        OomKills::Counted(count) => object.plain("oom_kills_counted", count),
    }
}

fn death_members(object: &mut Object<'_>, death: Death) {
    match death {
        Death::Exited(status) => object.plain("exit_status", status),
        Death::Killed { signal, core_dumped } => {
            object.text("signal", signal);
            object.plain("signal_number", signal.number());
            object.plain("core_dumped", core_dumped);
        }
    }
}

fn delivery_members(object: &mut Object<'_>, delivery: Delivery) {
    object.text("signal", delivery.signal);
    sender_members(object, delivery.sender);
}

fn sender_members(object: &mut Object<'_>, sender: Sender) {
    object.text(
        "sender",
        match sender {
            Sender::Process { .. } => "process",
            Sender::Claimed { .. } => "claimed",
            Sender::Outside => "outside",
            Sender::Unknown => "unknown",
            Sender::Kernel => "kernel",
            Sender::Myself => "foster",
        },
    );
    if let Sender::Process { pid, uid, name } | Sender::Claimed { pid, uid, name } = sender {
        object.plain("sender_pid", pid);
        object.plain("sender_uid", uid);
        if let Some(name) = name {
            object.text("sender_name", name.name);
            if let Some(arguments) = name.arguments() {
                object.text("sender_arguments", arguments);
            }
        }
    }
}

pub fn errno_members(object: &mut Object<'_>, errno: Errno) {
    object.plain("errno", errno as i32);
    object.text("error", errno.desc());
}
