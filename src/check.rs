//! `foster --check`: how many zombies there are, which parent does not reap them, and how full the limits on processes
//! are. Looking, judging and saying it are apart, and only looking needs /proc.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::cgroup::{self, Controller};
use crate::config::LogFormat;
use crate::output::{Line, Object};
use crate::proc::{self, Name};
use crate::sys;

/// What [`Limits::parse`] takes, for error messages.
pub const LIMITS: &str = "zombies=N, pids=P% or both, for example zombies=100,pids=90%";

/// What is still healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So many zombies.
    pub zombies: u64,
    /// So many percent of the processes and threads that there may be, 0 to 100.
    pub pids_percent: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { zombies: 100, pids_percent: 90 }
    }
}

impl Limits {
    /// Reads `zombies=N,pids=P%`; what is left out has its default.
    pub fn parse(text: &str) -> Option<Limits> {
        let number = |digits: &str| digits.parse().ok().filter(|_| !digits.starts_with('+'));
        let mut limits = Limits::default();
        for item in text.split(',') {
            match item.split_once('=')? {
                ("zombies", count) => limits.zombies = number(count)?,
                ("pids", percent) => {
                    limits.pids_percent = number(percent.strip_suffix('%')?).filter(|percent| *percent <= 100)?;
                }
                _ => return None,
            }
        }
        Some(limits)
    }
}

/// What there is to judge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Who has zombies.
    pub parents: Vec<Parent>,
    /// How many processes and threads there are, by each limit.
    pub pids: Vec<Use>,
}

/// A process whose children are zombies, because it does not wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its process ID; 0: it is outside this PID namespace.
    pub pid: i32,
    /// Its name, unless it is gone by now or outside.
    pub name: Option<Name>,
    /// How many.
    pub zombies: u64,
}

/// How full a limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// So many processes and threads count towards it, zombies included.
    pub used: u64,
    /// `None`: there is none, or it cannot be read.
    pub limit: Option<u64>,
    /// Whose limit it is.
    pub source: &'static str,
}

impl Use {
    /// In tenths of a percent, rounded up: what is over a limit never looks as if it were not.
    fn permille(&self) -> Option<u64> {
        Some(self.used.saturating_mul(1000).div_ceil(self.limit?.max(1)))
    }
}

/// Looks into /proc, and at the cgroup of the caller.
///
/// # Errors
/// Why not all of the namespace's processes can be seen.
pub fn look() -> Result<Seen, String> {
    if proc::own_stat().is_none_or(|own| own.pid != sys::pid()) {
        return Err("/proc is not that of this PID namespace, or not mounted".to_owned());
    }
    if proc::stat(1).is_none() {
        return Err("/proc hides processes of other users, PID 1 among them (hidepid); look as root".to_owned());
    }
    let processes = proc::processes().map_err(|error| format!("/proc cannot be listed: {error}"))?;
    let mut zombies = BTreeMap::<i32, u64>::new();
    let mut used = 0_u64;
    for process in processes {
        used = used.saturating_add(u64::from(process.threads.max(1)));
        if process.is_dead() {
            let count = zombies.entry(process.parent).or_default();
            *count = count.saturating_add(1);
        }
    }
    let parents = zombies.into_iter().map(|(pid, zombies)| Parent { pid, name: proc::name(pid), zombies });
    // Of the kernel's limits, which the whole machine shares, only this namespace's part: a probe that fails because of
    // others would restart every container there is.
    let mut pids = vec![
        Use { used, limit: proc::kernel_limit("threads-max"), source: "kernel.threads-max" },
        Use { used, limit: proc::kernel_limit("pid_max"), source: "kernel.pid_max" },
    ];
    if let Some(cgroup::Pids { current, max }) = Controller::find(Path::new("/"), "pids").and_then(|c| c.pids()) {
        pids.push(Use { used: current, limit: max, source: "cgroup pids.max" });
    }
    Ok(Seen { parents: parents.collect(), pids })
}

/// What was seen, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    limits: Limits,
    zombies: u64,
    /// Most zombies first.
    parents: Vec<Parent>,
    /// The limit that is fullest.
    pids: Option<Use>,
}

/// Judges what was seen.
pub fn judge(seen: Seen, limits: Limits) -> Verdict {
    let Seen { mut parents, pids } = seen;
    parents.sort_by_key(|parent| Reverse(parent.zombies));
    let zombies = parents.iter().fold(0_u64, |sum, parent| sum.saturating_add(parent.zombies));
    let pids = pids.into_iter().max_by_key(|pids| (pids.permille(), pids.limit.map(Reverse)));
    Verdict { limits, zombies, parents, pids }
}

/// How many parents are named.
const PARENTS_NAMED: usize = 10;

impl Verdict {
    /// 0 healthy, 1 over a limit: what HEALTHCHECK and an exec probe take.
    pub fn code(&self) -> u8 {
        u8::from(self.too_many_zombies() || self.too_few_pids())
    }

    /// What is printed: lines for people, or one JSON object on one line.
    pub fn text(&self, format: LogFormat) -> String {
        match format {
            LogFormat::Text => fmt::from_fn(|f| self.write_text(f)).to_string(),
            LogFormat::Json => {
                let mut line = Line::new();
                line.object(|object| self.members(object));
                String::from_utf8_lossy(line.finish()).into_owned()
            }
        }
    }

    fn too_many_zombies(&self) -> bool {
        self.zombies > self.limits.zombies
    }

    fn too_few_pids(&self) -> bool {
        let limit = self.limits.pids_percent.saturating_mul(10);
        self.pids.and_then(|pids| pids.permille()).is_some_and(|permille| permille > limit)
    }

    fn write_text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.too_many_zombies(), self.too_few_pids()) {
            (false, false) => "healthy\n",
            (true, false) => "unhealthy: too many zombies\n",
            (false, true) => "unhealthy: too few pids left\n",
            (true, true) => "unhealthy: too many zombies, and too few pids left\n",
        })?;
        writeln!(f, "zombies: {} (limit {})", self.zombies, self.limits.zombies)?;
        self.parents.iter().take(PARENTS_NAMED).try_for_each(|parent| writeln!(f, "  {parent}"))?;
        match self.parents.len().saturating_sub(PARENTS_NAMED) {
            0 => {}
            more => writeln!(f, "  and {more} more parents with fewer")?,
        }
        let Some(pids) = self.pids else { return Ok(()) };
        match (pids.limit, pids.permille()) {
            (Some(limit), Some(permille)) => {
                let (used, source) = (pids.used, pids.source);
                writeln!(
                    f,
                    "pids: {used} of {limit} ({source}), {}% (limit {}%)",
                    Decimal(permille),
                    self.limits.pids_percent
                )?;
            }
            _ => writeln!(f, "pids: {}, and no limit can be seen", pids.used)?,
        }
        match self.too_few_pids() {
            true => writeln!(f, "  processes, threads and zombies all count; stop what makes them, or raise the limit"),
            false => Ok(()),
        }
    }

    fn members(&self, object: &mut Object<'_>) {
        object.plain("healthy", self.code() == 0);
        object.plain("zombies", self.zombies);
        object.plain("zombie_limit", self.limits.zombies);
        object.plain("zombie_parents", self.parents.len());
        object.list("zombies_by_parent", self.parents.iter().take(PARENTS_NAMED), |object, parent| {
            object.plain("pid", parent.pid);
            match parent.name {
                Some(name) => object.text("name", name),
                None => object.plain("name", "null"),
            }
            object.plain("count", parent.zombies);
        });
        let limited = self.pids.filter(|pids| pids.limit.is_some());
        object.plain("pids_used", OrNull(self.pids.map(|pids| pids.used)));
        object.plain("pids_limit", OrNull(limited.and_then(|pids| pids.limit)));
        match limited {
            Some(pids) => object.text("pids_limit_source", pids.source),
            None => object.plain("pids_limit_source", "null"),
        }
        object.plain("pids_percent", OrNull(limited.and_then(|pids| pids.permille()).map(Decimal)));
        object.plain("pids_percent_limit", self.limits.pids_percent);
    }
}

/// Who it is, how many zombies it has, and what can be done about it.
impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, self.name) {
            (0, _) => f.write_str("a parent outside this PID namespace (docker exec, kubectl exec, nsenter)")?,
            (pid, Some(name)) => write!(f, "parent {pid} ({name})")?,
            (pid, None) => write!(f, "parent {pid}")?,
        }
        let (zombies, them) = if self.zombies == 1 { ("zombie", "it") } else { ("zombies", "them") };
        write!(f, " has {} {zombies} that it has not waited for", self.zombies)?;
        match (self.pid, self.name) {
            (_, Some(name)) if name == Name::new(b"foster") => f.write_str(" yet; that takes microseconds: look again"),
            (1, _) => write!(f, "; only it can reap {them}, and every orphan: if that goes on, start it under foster"),
            _ => write!(f, "; only it can reap {them}: fix or restart it"),
        }
    }
}

/// Tenths, as a decimal number.
struct Decimal(u64);

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
    use proptest::prelude::*;

    fn parent(pid: i32, name: &[u8], zombies: u64) -> Parent {
        Parent { pid, name: (!name.is_empty()).then(|| Name::new(name)), zombies }
    }

    fn pids(used: u64, limit: Option<u64>) -> Use {
        Use { used, limit, source: "kernel.pid_max" }
    }

    fn verdict(parents: &[Parent], pids: &[Use], limits: &str) -> Verdict {
        judge(Seen { parents: parents.to_vec(), pids: pids.to_vec() }, Limits::parse(limits).unwrap())
    }

    #[test]
    fn limits_are_read_and_what_is_left_out_has_its_default() {
        for (text, zombies, pids_percent) in [
            ("zombies=5", 5, 90),
            ("pids=50%", 100, 50),
            ("pids=0%,zombies=0", 0, 0),
            ("zombies=100,pids=100%", 100, 100),
        ] {
            assert_eq!(Limits::parse(text), Some(Limits { zombies, pids_percent }), "{text}");
        }
        for text in ["", "5", "zombies", "zombies=", "zombies=-1", "zombies=+1", "zombies=5%", "pids=50", "pids=101%"]
            .into_iter()
            .chain(["pids=%", "zombies=1,", ",zombies=1", "zombies=1 ", "zombie=1", "zombies=1;pids=2%", "1"])
        {
            assert_eq!(Limits::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn at_a_limit_it_is_healthy_and_over_it_not() {
        for (zombies, used, code) in [(100, 90, 0), (101, 90, 1), (100, 91, 1), (0, 0, 0), (5000, 100, 1)] {
            let verdict = verdict(&[parent(7, b"a", zombies)], &[pids(used, Some(100))], "zombies=100,pids=90%");
            assert_eq!(verdict.code(), code, "{zombies} zombies, {used} pids");
        }
        // 900.1 of a thousand is over 90.0%, and looks so.
        let verdict = verdict(&[], &[pids(9_001, Some(10_000))], "pids=90%");
        assert_eq!((verdict.code(), verdict.text(LogFormat::Text).contains("90.1% (limit 90%)")), (1, true));
    }

    #[test]
    fn the_fullest_limit_counts() {
        let unlimited = Use { used: 9, limit: None, source: "cgroup pids.max" };
        let full = Use { used: 9, limit: Some(10), source: "cgroup pids.max" };
        let pick = |uses: &[Use]| verdict(&[], uses, "pids=90%").pids;
        assert_eq!(pick(&[pids(50, Some(1000)), full]), Some(full));
        assert_eq!(pick(&[full, pids(950, Some(1000))]), Some(pids(950, Some(1000))));
        assert_eq!(pick(&[pids(50, Some(1000)), unlimited]), Some(pids(50, Some(1000))));
        assert_eq!(pick(&[pids(1, Some(4000)), pids(1, Some(5000))]), Some(pids(1, Some(4000))), "both are 0.1%");
        assert_eq!(verdict(&[], &[unlimited], "pids=0%").code(), 0);
        assert_eq!(verdict(&[], &[pids(1, Some(0))], "pids=99%").code(), 1);
    }

    #[test]
    fn the_text_names_who_does_not_reap_and_what_to_do() {
        let parents = [parent(30, b"ru\nner", 1), parent(12, b"runner", 1000)];
        assert_eq!(
            verdict(&parents, &[pids(1004, Some(32768))], "zombies=100").text(LogFormat::Text),
            "unhealthy: too many zombies\n\
             zombies: 1001 (limit 100)\n  \
               parent 12 (runner) has 1000 zombies that it has not waited for; only it can reap them: fix or restart it\n  \
               parent 30 (ru\\nner) has 1 zombie that it has not waited for; only it can reap it: fix or restart it\n\
             pids: 1004 of 32768 (kernel.pid_max), 3.1% (limit 90%)\n"
        );
        assert_eq!(
            verdict(&[], &[pids(95, Some(100))], "pids=90%").text(LogFormat::Text),
            "unhealthy: too few pids left\n\
             zombies: 0 (limit 100)\n\
             pids: 95 of 100 (kernel.pid_max), 95.0% (limit 90%)\n  \
               processes, threads and zombies all count; stop what makes them, or raise the limit\n"
        );
        assert_eq!(
            verdict(&[], &[pids(3, None)], "pids=90%").text(LogFormat::Text),
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
            assert_eq!(who.to_string(), says);
        }
    }

    #[test]
    fn the_first_ten_parents_are_named_most_zombies_first() {
        let parents: Vec<Parent> = (2..14).map(|pid| parent(pid, b"app", u64::from(pid.unsigned_abs()))).collect();
        let verdict = verdict(&parents, &[], "zombies=1");
        let text = verdict.text(LogFormat::Text);
        let named: Vec<&str> = text.lines().filter(|line| line.starts_with("  parent ")).collect();
        assert_eq!(named.len(), 10, "{text}");
        assert!(named[0].contains(" 13 zombies") && named[9].contains(" 4 zombies"), "{text}");
        assert!(
            text.contains("zombies: 90 (limit 1)\n") && text.contains("  and 2 more parents with fewer\n"),
            "{text}"
        );
        let json = verdict.text(LogFormat::Json);
        assert!(json.contains("\"zombie_parents\":12") && json.matches("\"count\":").count() == 10, "{json}");
    }

    #[test]
    fn json_is_one_line_with_stable_keys() {
        let parents = [parent(12, b"a\"b\\\n\xff", 7), parent(0, b"", 1)];
        assert_eq!(
            verdict(&parents, &[pids(90, Some(100))], "zombies=5,pids=95%").text(LogFormat::Json),
            "{\"healthy\":false,\"zombies\":8,\"zombie_limit\":5,\"zombie_parents\":2,\"zombies_by_parent\":\
             [{\"pid\":12,\"name\":\"a\\\"b\\\\\\\\n\\\\xff\",\"count\":7},{\"pid\":0,\"name\":null,\"count\":1}],\
             \"pids_used\":90,\"pids_limit\":100,\"pids_limit_source\":\"kernel.pid_max\",\"pids_percent\":90.0,\
             \"pids_percent_limit\":95}\n"
        );
        assert_eq!(
            verdict(&[], &[pids(3, None)], "zombies=100").text(LogFormat::Json),
            "{\"healthy\":true,\"zombies\":0,\"zombie_limit\":100,\"zombie_parents\":0,\"zombies_by_parent\":[],\
             \"pids_used\":3,\"pids_limit\":null,\"pids_limit_source\":null,\"pids_percent\":null,\
             \"pids_percent_limit\":90}\n"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[a-z0-9=,%+-]{0,30}") {
            Limits::parse(&text);
        }

        #[test]
        fn no_numbers_make_the_judge_panic(zombies: u64, used: u64, limit: Option<u64>) {
            let seen = Seen { parents: vec![parent(2, b"a", zombies), parent(3, b"b", zombies)], pids: vec![pids(used, limit)] };
            judge(seen, Limits::default()).text(LogFormat::Json);
        }
    }
}
