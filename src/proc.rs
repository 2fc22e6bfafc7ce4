//! Reading /proc: names and ages of processes. Parsing is pure; every reader answers `None` where /proc cannot be read.

use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::errno::Errno;

use crate::sys::{self, Numbers};
use crate::text::{Name, Title};

/// What foster needs of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The process ID, field 1.
    pub pid: i32,
    /// `comm`, field 2.
    pub name: Name,
    /// Its state as the kernel's letter, field 3.
    pub state: u8,
    /// Its parent, field 4.
    pub parent: i32,
    /// Its process group, field 5.
    pub group: i32,
    /// `num_threads`, field 20: those that live, and the main one even when it has ended.
    pub threads: u32,
    /// `starttime`, field 22: when it started, in clock ticks after boot.
    pub start_ticks: u64,
}

impl Stat {
    /// Dead, and only waiting to be reaped. A process whose main thread alone has ended is a zombie by its letter, but
    /// lives, takes signals, and cannot be reaped yet (`delay_group_leader` in the kernel).
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && self.threads <= 1
    }

    /// The state as proc(5) explains the letter.
    pub fn state_in_words(&self) -> &'static str {
        match self.state {
            b'R' => "running",
            b'S' => "sleeping",
            b'D' => "in uninterruptible sleep",
            b'T' => "stopped",
            b't' => "stopped by a debugger",
            b'Z' => "a zombie",
            b'I' => "idle",
            _ => "in an unknown state",
        }
    }
}

/// Reads `/proc/PID/stat`, which a zombie still has.
pub fn stat(pid: i32) -> Option<Stat> {
    let mut buffer = [0; 1024];
    parse_stat(read(format_args!("/proc/{pid}/stat"), &mut buffer)?)
}

/// Whether /proc is that of this PID namespace. In another's the numbers are other processes', and foster must neither name
/// nor signal those. /proc/self is a link to the caller's number; in another namespace's /proc it leads to another number, or
/// nowhere. The directory behind the link is not opened: the kernel would have to remove its entries when foster ends.
///
/// # Errors
/// It is not: ENOENT without a /proc, ESRCH with another's.
pub fn is_this_namespaces() -> Result<(), Errno> {
    let mut buffer = [0; 16];
    let number = sys::read_link(c"/proc/self", &mut buffer)?;
    let is_own = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok()) == Some(sys::pid());
    if is_own { Ok(()) } else { Err(Errno::ESRCH) }
}

/// Reads a number in /proc/sys/kernel: `pid_max` or `threads-max` (proc_sys_kernel(5)).
pub fn kernel_limit(name: &str) -> Option<u64> {
    let mut buffer = [0; 64];
    let text = std::str::from_utf8(read(format_args!("/proc/sys/kernel/{name}"), &mut buffer)?).ok()?;
    text.trim_ascii().parse().ok()
}

/// Programs that run others' programs: their name alone does not tell which. Numbers at the end do not count (`python3.11`).
const INTERPRETERS: &[u8] = b"sh bash dash ash ksh zsh busybox python pypy perl ruby php lua";

fn is_interpreter(name: &[u8]) -> bool {
    let is_version = |rest: &[u8]| rest.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    INTERPRETERS.split(|b| *b == b' ').any(|known| name.strip_prefix(known).is_some_and(is_version))
}

/// Who a process is, to be told to somebody: its name, and of an interpreter the beginning of its arguments too.
///
/// To read a command line, the kernel reads the memory of that process, and waits for whoever changes it at the time
/// (`get_mm_cmdline` in fs/proc/base.c takes mmap_lock). A thread that waits for a dead file server or for memory may hold that
/// lock, and foster would wait along with it. So foster reads that of a process with a single thread alone, and not while that
/// is in an uninterruptible sleep. A zombie has none.
#[cold]
pub fn title(process: &Stat) -> Title {
    let mut buffer = [0; 256];
    let is_readable = process.threads == 1 && process.state != b'D' && is_interpreter(process.name.bytes());
    let pid = process.pid;
    let line = if is_readable { read(format_args!("/proc/{pid}/cmdline"), &mut buffer) } else { None };
    line.map_or(Title::new(process.name), |line| Title::with_command_line(process.name, line))
}

/// Who traces a process (`TracerPid` in /proc/PID/status). A dead process that is traced goes to its tracer first, and its
/// parent cannot reap it before.
pub fn tracer(pid: i32) -> Option<i32> {
    let mut buffer = [0; 2048];
    let value = status_value(pid, b"TracerPid:", &mut buffer)?;
    value.parse().ok().filter(|tracer| *tracer != 0)
}

/// Whether there was no room left, a moment ago, for signals to foster that are queued (`SigQ` in /proc/PID/status). What
/// foster has taken since then has made some room again: half of it is a flood too.
#[cold]
pub fn signal_queue_was_full() -> bool {
    let mut buffer = [0; 2048];
    let value = status_value(sys::pid(), b"SigQ:", &mut buffer);
    let numbers = value.and_then(|value| value.split_once('/')).map(|(queued, limit)| (queued.parse(), limit.parse()));
    matches!(numbers, Some((Ok::<u64, _>(queued), Ok::<u64, _>(limit))) if queued >= limit / 2)
}

fn status_value<'a>(pid: i32, key: &[u8], buffer: &'a mut [u8]) -> Option<&'a str> {
    let status = read(format_args!("/proc/{pid}/status"), buffer)?;
    let value = status.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(key))?;
    std::str::from_utf8(value).ok().map(str::trim)
}

/// The time since boot, as process start times have it.
pub fn ticks_since_boot() -> u64 {
    let now = sys::since_boot();
    let hundredths = now.as_secs().saturating_mul(100).saturating_add(u64::from(now.subsec_millis() / 10));
    hundredths.saturating_mul(sys::ticks_per_second()) / 100
}

/// How long ago a process started that has this start time.
pub fn age(start_ticks: u64) -> Duration {
    let started_ms = start_ticks.saturating_mul(1000).checked_div(sys::ticks_per_second()).unwrap_or(0);
    sys::since_boot().saturating_sub(Duration::from_millis(started_ms))
}

/// Every process that /proc shows, smallest pid first, each as it is when its turn comes. The list comes first, which is
/// quick, and then what is in it. If both were read together, a fork bomb that makes processes faster than they are looked at
/// would never let the list end, and with nobody to reap meanwhile they would fill the process table.
///
/// # Errors
/// /proc is not there or may not be listed.
pub fn processes() -> Result<impl Iterator<Item = Stat>, Errno> {
    Ok(Numbers::all(c"/proc")?.into_iter().filter_map(stat))
}

/// The processes that /proc shows, smallest pid first, some at a time, for a caller who has other things to do in between. It
/// needs no memory but the stack. The list ends whatever is started meanwhile, since the kernel hands out pids upwards.
pub struct Listing(Numbers);

impl Listing {
    /// None is listed yet.
    ///
    /// # Errors
    /// /proc is not there or may not be listed, or no descriptor is left.
    pub fn begin() -> Result<Listing, Errno> {
        Numbers::of(c"/proc").map(Listing)
    }

    /// Hands on those that one system call lists, each as it is when its turn comes. False: that was the end.
    ///
    /// # Errors
    /// /proc cannot be listed any more.
    #[inline(never)]
    pub fn some(&mut self, mut each: impl FnMut(Stat)) -> Result<bool, Errno> {
        self.0.some(|pid| stat(pid).into_iter().for_each(&mut each))
    }
}

/// How many processes /proc shows.
///
/// # Errors
/// As [`processes`].
pub fn count() -> Result<usize, Errno> {
    Ok(Numbers::all(c"/proc")?.len())
}

/// The caller's own children, oldest first, dead ones included. The kernel may list them (CONFIG_PROC_CHILDREN), in one read;
/// otherwise every process is looked at.
///
/// # Errors
/// As [`processes`].
pub fn children() -> Result<Vec<i32>, Errno> {
    match std::fs::File::open("/proc/thread-self/children") {
        Ok(file) => Ok(numbers(file)),
        Err(_) => {
            let own = sys::pid();
            Ok(processes()?.filter(|process| process.parent == own).map(|process| process.pid).collect())
        }
    }
}

/// The numbers in a file, with blanks between them. Read in large pieces, since each is a system call.
fn numbers(mut file: impl Read) -> Vec<i32> {
    let (mut numbers, mut number) = (Vec::new(), None);
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = file.read(&mut buffer) {
        for byte in buffer.iter().take(len) {
            if byte.is_ascii_digit() {
                let digit = i32::from(byte.saturating_sub(b'0'));
                number = Some(number.unwrap_or(0_i32).saturating_mul(10).saturating_add(digit));
            } else {
                numbers.extend(number.take());
            }
        }
    }
    numbers.extend(number);
    numbers
}

/// The caller's living descendants, smallest pid first.
///
/// # Errors
/// /proc is not there, is not that of this PID namespace, or may not be listed.
pub fn descendants() -> Result<Vec<Stat>, Errno> {
    is_this_namespaces()?;
    let everybody: Vec<Stat> = processes()?.collect();
    let mut descendants = descendants_among(&everybody, sys::pid());
    descendants.retain(|process| !process.is_dead());
    Ok(descendants)
}

/// The descendants of `ancestor` among these processes, dead ones included.
pub fn descendants_among(everybody: &[Stat], ancestor: i32) -> Vec<Stat> {
    let mut family = vec![ancestor];
    // Pids wrap around, so a child may come before its parent: until a look finds nobody new.
    loop {
        let before = family.len();
        for process in everybody {
            if family.binary_search(&process.parent).is_ok()
                && let Err(place) = family.binary_search(&process.pid)
            {
                family.insert(place, process.pid);
            }
        }
        if family.len() == before {
            break;
        }
    }
    let is_descendant = |process: &&Stat| process.pid != ancestor && family.binary_search(&process.pid).is_ok();
    everybody.iter().filter(is_descendant).copied().collect()
}

/// The name stands in parentheses and may hold any byte, parentheses, blanks and newlines included: what follows the
/// last `)` is numbers.
pub fn parse_stat(text: &[u8]) -> Option<Stat> {
    let open = text.iter().position(|b| *b == b'(')?;
    let close = text.iter().rposition(|b| *b == b')')?;
    let pid = std::str::from_utf8(text.get(..open)?).ok()?.trim_end().parse().ok()?;
    let name = Name::new(text.get(open.checked_add(1)?..close)?);
    let mut rest = std::str::from_utf8(text.get(close.checked_add(1)?..)?).ok()?.split_ascii_whitespace();
    let state = *rest.next()?.as_bytes().first()?;
    let parent = rest.next()?.parse().ok()?;
    let group = rest.next()?.parse().ok()?;
    // That was field 5, so field 20 is number 14 from here.
    let threads = rest.nth(14)?.parse().ok()?;
    let start_ticks = rest.nth(1)?.parse().ok()?;
    Some(Stat { pid, name, state, parent, group, threads, start_ticks })
}

/// Reads a /proc file, which is never short of what one read(2) returns for these sizes.
fn read<'a>(path: fmt::Arguments<'_>, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut name = Path { bytes: [0; 40], len: 0 };
    name.write_fmt(path).ok()?;
    let mut file = std::fs::File::open(OsStr::from_bytes(name.bytes.get(..name.len)?)).ok()?;
    let len = file.read(buffer).ok()?;
    buffer.get(..len)
}

/// A path below /proc, on the stack: foster also looks when there is no memory left.
struct Path {
    bytes: [u8; 40],
    len: usize,
}

impl fmt::Write for Path {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len.saturating_add(text.len());
        let room = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::OneLine;
    use proptest::prelude::*;

    fn stat_line(name: &[u8]) -> Vec<u8> {
        let mut line = b"4711 (".to_vec();
        line.extend_from_slice(name);
        line.extend_from_slice(
            b") Z 1 4711 4711 0 -1 4227084 0 0 0 0 1 2 0 0 20 0 1 0 987654 0 0 18446744073709551615\n",
        );
        line
    }

    #[test]
    fn a_stat_line_gives_name_and_start() {
        let stat = parse_stat(&stat_line(b"sleep")).expect("a stat line");
        assert_eq!((stat.name.to_string().as_str(), stat.start_ticks), ("sleep", 987_654));
        assert!(stat.is_dead());
    }

    #[test]
    fn a_process_whose_main_thread_alone_has_ended_is_alive() {
        let line = String::from_utf8(stat_line(b"java")).expect("ASCII").replace(" 20 0 1 0 ", " 20 0 3 0 ");
        let stat = parse_stat(line.as_bytes()).expect("a stat line");
        assert_eq!((stat.state, stat.threads, stat.is_dead()), (b'Z', 3, false));
    }

    #[test]
    fn a_hostile_name_changes_nothing() {
        for (name, shown) in [
            (&b") Z 1 (x"[..], ") Z 1 (x"),
            (b"a\nb\tc", "a\\nb\\tc"),
            (b"caf\xc3\xa9", "café"),
            (b"\xff\xfe", "\\xff\\xfe"),
            (b"", ""),
            (b"123456789012345", "123456789012345"),
        ] {
            let stat = parse_stat(&stat_line(name)).expect("a stat line");
            assert_eq!((stat.name.to_string().as_str(), stat.start_ticks), (shown, 987_654), "{name:?}");
        }
    }

    #[test]
    fn interpreters_are_known_with_their_versions() {
        for name in ["sh", "bash", "python", "python3", "python3.11", "perl5.36.0", "php8.2", "busybox"] {
            assert!(is_interpreter(name.as_bytes()), "{name}");
        }
        for name in ["", "3", "sleep", "shd", "gunicorn", "java", "phpize", "worker3"] {
            assert!(!is_interpreter(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_command_line_is_read_only_of_a_process_that_lets_foster_read_it_at_once() {
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "read line; exit 0"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("a shell");
        let pid = i32::try_from(shell.id()).expect("a pid");
        // Once the exec is done.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let process = loop {
            match stat(pid) {
                // The kernel sets the name first, and the command line a little later.
                Some(process) if process.state != b'D' && title(&process).to_string().starts_with("sh -c") => {
                    break process;
                }
                _ => assert!(std::time::Instant::now() < deadline, "no shell"),
            }
        };
        let shown = |process: Stat| title(&process).to_string();
        assert_eq!(shown(process), "sh -c read line; exit 0");
        for (what, other) in
            [("other threads", Stat { threads: 2, ..process }), ("uninterruptible", Stat { state: b'D', ..process })]
        {
            assert_eq!(shown(other), "sh", "{what}");
        }
        assert_eq!(shown(Stat { name: Name::new(b"server"), ..process }), "server", "no interpreter");
        drop(shell.stdin.take());
        shell.wait().expect("it ends");
        assert_eq!(shown(process), "sh", "it is gone");
    }

    #[test]
    fn foster_can_read_about_itself() {
        let pid = i32::try_from(std::process::id()).expect("a pid");
        let stat = stat(pid).expect("/proc/PID/stat");
        assert_eq!(title(&stat).name, stat.name);
        assert!(age(stat.start_ticks) < Duration::from_secs(3600), "{:?}", age(stat.start_ticks));
        assert_eq!(super::stat(i32::MAX), None);
    }

    /// Of what is started meanwhile there may be no end.
    #[test]
    fn all_processes_are_listed_before_the_first_is_looked_at() {
        let mut listed = processes().expect("/proc");
        let mut child = std::process::Command::new("true").spawn().expect("started");
        let pid = i32::try_from(child.id()).expect("a pid");
        assert!(stat(pid).is_some(), "it is there until it is waited for");
        assert!(listed.all(|process| process.pid != pid));
        child.wait().expect("ended");
    }

    #[test]
    fn each_letter_of_a_state_has_its_words() {
        let words = |state| Stat { state, ..parse_stat(&stat_line(b"x")).expect("a stat line") }.state_in_words();
        assert_eq!(
            b"RSDTZI".map(words),
            ["running", "sleeping", "in uninterruptible sleep", "stopped", "a zombie", "idle"]
        );
        assert_eq!(b"tX".map(words), ["stopped by a debugger", "in an unknown state"]);
    }

    #[test]
    fn the_time_since_boot_is_in_ticks_what_the_kernel_says_in_seconds() {
        let uptime = || {
            let text = std::fs::read_to_string("/proc/uptime").expect("readable");
            let (seconds, hundredths) = text.split(' ').next().and_then(|up| up.split_once('.')).expect("12.34");
            let number = |text: &str| text.parse::<u64>().expect("a number");
            (number(seconds) * 100 + number(hundredths)) * sys::ticks_per_second() / 100
        };
        let (before, ticks, after) = (uptime(), ticks_since_boot(), uptime());
        assert!(before <= ticks && ticks <= after, "{before} <= {ticks} <= {after}");
    }

    #[test]
    fn a_limit_of_the_kernels_is_read_whole() {
        for name in ["pid_max", "threads-max"] {
            let limit = std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).expect("readable");
            assert_eq!(kernel_limit(name).map(|limit| format!("{limit}\n")), Some(limit), "{name}");
        }
        assert_eq!(kernel_limit("no-such-limit"), None);
    }

    #[test]
    fn numbers_are_read_across_the_edges_of_what_is_read_at_once() {
        let many: Vec<i32> = (1..3000).collect();
        let text: String = many.iter().map(|number| format!("{number} ")).collect();
        assert_eq!(numbers(text.as_bytes()), many);
        assert_eq!(numbers(&b"12 7"[..]), [12, 7]);
        assert_eq!(numbers(&b""[..]), Vec::<i32>::new());
    }

    #[test]
    fn this_process_is_listed() {
        let mut own = false;
        let mut listing = Listing::begin().expect("/proc");
        while listing.some(|process| own |= process.pid == sys::pid()).expect("listed") {}
        assert!(own, "this process is listed");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse_stat(&bytes);
            let shown = OneLine(&bytes).to_string();
            prop_assert!(!shown.contains(|c: char| c.is_control()));
        }
    }
}
