//! What `--check` prints.

use std::fmt;

use crate::check::{Blind, NAMED as PARENTS_NAMED, Parent, Verdict};
use crate::config::LogFormat;
use crate::output::{Line, Object};
use crate::text::Name;

/// Why a health check could not look.
pub fn blind(reason: Blind) -> impl fmt::Display {
    fmt::from_fn(move |f| match reason {
        Blind::NoProc => f.write_str("/proc is not that of this PID namespace, or not mounted"),
        Blind::Hidden => f.write_str("/proc hides processes of other users, PID 1 among them (hidepid); look as root"),
        Blind::Unlistable(errno) => write!(f, "/proc cannot be listed: {}", errno.desc()),
    })
}

/// What is printed: lines for people, or one JSON object on one line.
pub fn verdict(verdict: &Verdict, format: LogFormat) -> String {
    match format {
        LogFormat::Text => fmt::from_fn(|f| write_text(verdict, f)).to_string(),
        LogFormat::Json => {
            let mut line = Line::new();
            line.object(|object| members(verdict, object));
            String::from_utf8_lossy(line.finish()).into_owned()
        }
    }
}

fn write_text(verdict: &Verdict, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(match (verdict.too_many_zombies(), verdict.too_few_pids()) {
        (false, false) => "healthy\n",
        (true, false) => "unhealthy: too many zombies\n",
        (false, true) => "unhealthy: too few pids left\n",
        (true, true) => "unhealthy: too many zombies, and too few pids left\n",
    })?;
    writeln!(f, "zombies: {} (limit {})", verdict.zombies, verdict.limits.zombies)?;
    verdict.parents.iter().take(PARENTS_NAMED).try_for_each(|parent| writeln!(f, "  {}", Blame(parent)))?;
    match verdict.parents.len().saturating_sub(PARENTS_NAMED) {
        0 => {}
        more => writeln!(f, "  and {more} more parents with fewer")?,
    }
    let Some(pids) = verdict.pids else { return Ok(()) };
    match (pids.limit, pids.permille()) {
        (Some(limit), Some(permille)) => {
            let (used, source) = (pids.used, pids.source);
            writeln!(
                f,
                "pids: {used} of {limit} ({source}), {}% (limit {}%)",
                Decimal(permille),
                verdict.limits.pids_percent
            )?;
        }
        _ => writeln!(f, "pids: {}, and no limit can be seen", pids.used)?,
    }
    if verdict.too_few_pids() {
        writeln!(f, "  processes, threads and zombies all count; stop what makes them, or raise the limit")?;
    }
    Ok(())
}

pub fn members(verdict: &Verdict, object: &mut Object<'_>) {
    object.plain("healthy", verdict.code() == 0);
    object.plain("zombies", verdict.zombies);
    object.plain("zombie_limit", verdict.limits.zombies);
    object.plain("zombie_parents", verdict.parents.len());
    object.list("zombies_by_parent", verdict.parents.iter().take(PARENTS_NAMED), |object, parent| {
        object.plain("pid", parent.pid);
        match parent.name {
            Some(name) => object.text("name", name),
            None => object.plain("name", "null"),
        }
        object.plain("count", parent.zombies);
        object.plain("tracer", parent.traces);
    });
    let limited = verdict.pids.filter(|pids| pids.limit.is_some());
    object.plain("pids_used", OrNull(verdict.pids.map(|pids| pids.used)));
    object.plain("pids_limit", OrNull(limited.and_then(|pids| pids.limit)));
    match limited {
        Some(pids) => object.text("pids_limit_source", pids.source),
        None => object.plain("pids_limit_source", "null"),
    }
    object.plain("pids_percent", OrNull(limited.and_then(|pids| pids.permille()).map(Decimal)));
    object.plain("pids_percent_limit", verdict.limits.pids_percent);
}

/// Who it is, how many zombies it has, and what can be done about it.
struct Blame<'a>(&'a Parent);

impl fmt::Display for Blame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = if self.0.traces { "tracer" } else { "parent" };
        match (self.0.pid, self.0.name) {
            (0, _) => f.write_str("a parent outside this PID namespace (docker exec, kubectl exec, nsenter)")?,
            (pid, Some(name)) => write!(f, "{who} {pid} ({name})")?,
            (pid, None) => write!(f, "{who} {pid}")?,
        }
        let (zombies, them) = if self.0.zombies == 1 { ("zombie", "it") } else { ("zombies", "them") };
        write!(f, " has {} {zombies} that it has not waited for", self.0.zombies)?;
        match (self.0.pid, self.0.name) {
            _ if self.0.traces => {
                write!(f, "; their parent cannot reap {them} before it: end the tracer, or let it detach")
            }
            (_, Some(name)) if name == Name::new(b"foster") => f.write_str(" yet; that takes microseconds: look again"),
            (1, _) => write!(f, "; only it can reap {them}, and every orphan: if that goes on, start it under foster"),
            _ => write!(f, "; only it can reap {them}: fix or restart it"),
        }
    }
}

/// Tenths, as a decimal number.
pub struct Decimal(pub u64);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

/// A value of JSON, or its null.
struct OrNull<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for OrNull<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("null"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::{parent, pids, verdict};
    use crate::check::{Seen, judge};
    use crate::config::Limits;
    use proptest::prelude::*;

    #[test]
    fn the_text_names_who_does_not_reap_and_what_to_do() {
        let parents = [parent(30, b"ru\nner", 1), parent(12, b"runner", 1000)];
        assert_eq!(
            super::verdict(&verdict(&parents, &[pids(1004, Some(32768))], "zombies=100"), LogFormat::Text),
            "unhealthy: too many zombies\n\
             zombies: 1001 (limit 100)\n  \
               parent 12 (runner) has 1000 zombies that it has not waited for; only it can reap them: fix or restart it\n  \
               parent 30 (ru\\nner) has 1 zombie that it has not waited for; only it can reap it: fix or restart it\n\
             pids: 1004 of 32768 (kernel.pid_max), 3.1% (limit 90%)\n"
        );
        assert_eq!(
            super::verdict(&verdict(&[], &[pids(95, Some(100))], "pids=90%"), LogFormat::Text),
            "unhealthy: too few pids left\n\
             zombies: 0 (limit 100)\n\
             pids: 95 of 100 (kernel.pid_max), 95.0% (limit 90%)\n  \
               processes, threads and zombies all count; stop what makes them, or raise the limit\n"
        );
        assert_eq!(
            super::verdict(&verdict(&[], &[pids(3, None)], "pids=90%"), LogFormat::Text),
            "healthy\nzombies: 0 (limit 100)\npids: 3, and no limit can be seen\n"
        );
        for (who, says) in [
            (
                parent(9, b"", 2),
                "parent 9 has 2 zombies that it has not waited for; only it can reap them: fix or restart it",
            ),
            (
                parent(1, b"foster", 1),
                "parent 1 (foster) has 1 zombie that it has not waited for yet; that takes microseconds: look again",
            ),
            (
                parent(1, b"app", 4),
                "parent 1 (app) has 4 zombies that it has not waited for; only it can reap them, and every orphan: if that goes on, start it under foster",
            ),
            (
                parent(0, b"", 2),
                "a parent outside this PID namespace (docker exec, kubectl exec, nsenter) has 2 zombies that it has not waited for; only it can reap them: fix or restart it",
            ),
        ] {
            assert_eq!(Blame(&who).to_string(), says);
        }
    }

    #[test]
    fn the_first_ten_parents_are_named_most_zombies_first() {
        let parents: Vec<Parent> = (2..14).map(|pid| parent(pid, b"app", u64::from(pid.unsigned_abs()))).collect();
        let verdict = verdict(&parents, &[], "zombies=1");
        let text = super::verdict(&verdict, LogFormat::Text);
        let named: Vec<&str> = text.lines().filter(|line| line.starts_with("  parent ")).collect();
        assert_eq!(named.len(), 10, "{text}");
        assert!(named[0].contains(" 13 zombies") && named[9].contains(" 4 zombies"), "{text}");
        assert!(
            text.contains("zombies: 90 (limit 1)\n") && text.contains("  and 2 more parents with fewer\n"),
            "{text}"
        );
        let json = super::verdict(&verdict, LogFormat::Json);
        assert!(json.contains("\"zombie_parents\":12") && json.matches("\"count\":").count() == 10, "{json}");
    }

    #[test]
    fn json_is_one_line_with_stable_keys() {
        let parents = [parent(12, b"a\"b\\\n\xff", 7), parent(0, b"", 1)];
        assert_eq!(
            super::verdict(&verdict(&parents, &[pids(90, Some(100))], "zombies=5,pids=95%"), LogFormat::Json),
            "{\"healthy\":false,\"zombies\":8,\"zombie_limit\":5,\"zombie_parents\":2,\"zombies_by_parent\":\
             [{\"pid\":12,\"name\":\"a\\\"b\\\\\\\\n\\\\xff\",\"count\":7,\"tracer\":false},{\"pid\":0,\"name\":null,\"count\":1,\"tracer\":false}],\
             \"pids_used\":90,\"pids_limit\":100,\"pids_limit_source\":\"kernel.pid_max\",\"pids_percent\":90.0,\
             \"pids_percent_limit\":95}\n"
        );
        assert_eq!(
            super::verdict(&verdict(&[], &[pids(3, None)], "zombies=100"), LogFormat::Json),
            "{\"healthy\":true,\"zombies\":0,\"zombie_limit\":100,\"zombie_parents\":0,\"zombies_by_parent\":[],\
             \"pids_used\":3,\"pids_limit\":null,\"pids_limit_source\":null,\"pids_percent\":null,\
             \"pids_percent_limit\":90}\n"
        );
    }

    proptest! {
        #[test]
        fn no_numbers_make_the_judge_panic(zombies: u64, used: u64, limit: Option<u64>) {
            let parents = vec![parent(2, b"a", zombies), parent(3, b"b", zombies)];
            let seen = Seen { parents, others: zombies, pids: [Some(pids(used, limit)), None, None] };
            super::verdict(&judge(seen, Limits::default()), LogFormat::Json);
        }
    }
}
