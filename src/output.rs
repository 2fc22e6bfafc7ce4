//! Where foster's words go: a stderr that can neither block nor kill it, as text or as JSON, and the termination log.

use std::ffi::{CStr, OsStr};
use std::fmt::{self, Display, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write as _};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter};

use crate::config::{LogConfig, LogFormat};
use crate::sys;

/// How foster was told to log. Until [`init`] is called, the defaults hold.
static SETTINGS: OnceLock<Settings> = OnceLock::new();

/// The most detailed [`LevelFilter`] that is said. Looked at first, so that a line that is not said costs one load.
static LEVEL: AtomicUsize = AtomicUsize::new(LevelFilter::Warn as usize);

/// How many lines stderr did not take since that was last said.
static LINES_LOST: AtomicU64 = AtomicU64::new(0);

struct Settings {
    /// What a line must hold to be said; empty: anything.
    words: String,
    format: LogFormat,
}

/// Sets level and format: `-v` wins over FOSTER_LOG, that over the default, warn. Called once.
pub fn init(config: &LogConfig) {
    let filter = config.filter.as_ref().filter(|_| config.verbosity == 0);
    let level = match (filter, config.verbosity) {
        (Some(filter), _) => filter.level,
        (None, 0) => LevelFilter::Warn,
        (None, 1) => LevelFilter::Info,
        (None, 2) => LevelFilter::Debug,
        (None, _) => LevelFilter::Trace,
    };
    LEVEL.store(level as usize, Ordering::Relaxed);
    let words = filter.map(|filter| filter.words.clone()).unwrap_or_default();
    let _ = SETTINGS.set(Settings { words, format: config.format });
}

/// Whether a line of this level will be said: only then is it worth finding out what it would say.
#[inline]
pub fn says(level: Level) -> bool {
    level as usize <= LEVEL.load(Ordering::Relaxed)
}

/// Writes the members that a line has as JSON.
pub type Members<'a> = dyn Fn(&mut Object<'_>) + 'a;

/// Says one line, if its level is to be said: the message alone as text, with `event` and the members as JSON.
pub fn say(level: Level, event: &str, message: fmt::Arguments<'_>, members: &Members) {
    if !says(level) || !matches(message) {
        return;
    }
    say_lines_lost();
    if write(level, event, message, members).is_err() {
        LINES_LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// Says one line whatever FOSTER_LOG says about its words, because it is foster's last.
pub fn say_without_memory(level: Level, event: &str, message: fmt::Arguments<'_>) {
    if says(level) {
        // Nothing can be done about an error: there is no memory left.
        let _ = write(level, event, message, &|_| {});
    }
}

/// Says how many lines were lost, if stderr takes that now. Called before each line, and when foster ends.
pub fn say_lines_lost() {
    let lost = LINES_LOST.load(Ordering::Relaxed);
    if lost == 0 {
        return;
    }
    let message = format_args!("lines lost because stderr was full or broken: {lost}");
    if write(Level::Warn, "lines_lost", message, &|object| object.plain("lines_lost", lost)).is_ok() {
        LINES_LOST.store(0, Ordering::Relaxed);
    }
}

/// What FOSTER_LOG says about the words of a line (`warn/SIGTERM`).
#[cold]
#[inline(never)]
fn matches(message: fmt::Arguments<'_>) -> bool {
    let words = SETTINGS.get().map_or("", |settings| &settings.words);
    if words.is_empty() {
        return true;
    }
    let mut line = Line::new();
    line.say(message);
    line.finish().windows(words.len()).any(|part| part == words.as_bytes())
}

// Not inlined: the frame of main lives as long as foster, and would hold the 4 KiB of the line.
#[cold]
#[inline(never)]
fn write(level: Level, event: &str, message: fmt::Arguments<'_>, members: &Members) -> nix::Result<()> {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let mut line = Line::new();
    match SETTINGS.get().map_or(LogFormat::Text, |settings| settings.format) {
        LogFormat::Text => line.say(format_args!("foster[{}]: {level}: {message}", sys::pid())),
        LogFormat::Json => line.object(|object| {
            object.text("time", Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()));
            object.text("level", level);
            object.plain("foster_pid", sys::pid());
            object.text("event", event);
            object.long_text("message", message);
            members(object);
        }),
    }
    sys::write_stderr(line.finish())
}

/// One line of at most PIPE_BUF bytes, which pipe(7) takes whole or not at all. On the stack: saying something must
/// work when there is no memory left.
pub struct Line {
    bytes: [u8; libc::PIPE_BUF],
    len: usize,
    /// Something was cut.
    is_cut: bool,
}

/// How many bytes a JSON line keeps free for what closes it: `}`, or `}]}` in a list, and the newline.
const CLOSING: usize = 8;

impl Line {
    /// An empty line.
    pub fn new() -> Line {
        Line { bytes: [0; libc::PIPE_BUF], len: 0, is_cut: false }
    }

    fn say(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a Line never fails: what does not fit is cut.
        let _ = self.write_fmt(text);
    }

    /// Writes one JSON object. Members that do not fit are left out, so it always parses.
    pub fn object(&mut self, members: impl FnOnce(&mut Object<'_>)) {
        let mut object = Object { line: self, is_empty: true };
        object.open("{");
        members(&mut object);
        object.close("}");
    }

    /// The line with its newline.
    pub fn finish(&mut self) -> &[u8] {
        let end = self.len.min(self.bytes.len().saturating_sub(1));
        if let Some(newline) = self.bytes.get_mut(end) {
            *newline = b'\n';
        }
        self.bytes.get(..=end).unwrap_or_default()
    }

    fn append(&mut self, text: &str, end: usize) {
        let room = self.bytes.get_mut(self.len..end).unwrap_or_default();
        let taken = text.floor_char_boundary(room.len());
        for (to, from) in room.iter_mut().zip(text.as_bytes().iter().take(taken)) {
            *to = *from;
        }
        self.len = self.len.saturating_add(taken);
        self.is_cut |= taken < text.len();
    }
}

impl Default for Line {
    fn default() -> Line {
        Line::new()
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // The newline takes the last byte.
        self.append(text, self.bytes.len().saturating_sub(1));
        Ok(())
    }
}

/// A JSON object (RFC 8259) that is being written.
pub struct Object<'a> {
    line: &'a mut Line,
    is_empty: bool,
}

/// How many bytes of the line one value may take, so that a long name leaves room for the rest.
const TEXT_BYTES: usize = 256;
/// The same for the message. What matters in it is in the other members too.
const LONG_TEXT_BYTES: usize = 1536;

impl Object<'_> {
    /// A member that is a string.
    pub fn text(&mut self, key: &str, value: impl Display) {
        self.string(key, &value, TEXT_BYTES);
    }

    /// A member that is a long string.
    pub fn long_text(&mut self, key: &str, value: impl Display) {
        self.string(key, &value, LONG_TEXT_BYTES);
    }

    /// A member that is a number, `true`, `false` or `null`.
    pub fn plain(&mut self, key: &str, value: impl Display) {
        self.literal(key, &value);
    }

    /// A member that is a time in seconds, exact to the millisecond.
    pub fn seconds(&mut self, key: &str, value: Duration) {
        self.plain(key, format_args!("{}.{:03}", value.as_secs(), value.subsec_millis()));
    }

    /// A member that is a list of objects; those that do not fit are left out.
    pub fn list<T: Copy>(
        &mut self,
        key: &str,
        mut items: impl Iterator<Item = T>,
        members: impl Fn(&mut Object<'_>, T),
    ) {
        self.member(key, &mut |line| {
            let mut list = Object { line, is_empty: true };
            list.open("[");
            for item in items.by_ref() {
                list.whole(&mut |line| line.object(|object| members(object, item)));
            }
            list.close("]");
        });
    }

    /// A member that is an object.
    pub fn object(&mut self, key: &str, members: &mut dyn FnMut(&mut Object<'_>)) {
        self.member(key, &mut |line| line.object(&mut *members));
    }

    // Not inlined, or each member of each line has its copy.
    #[inline(never)]
    fn string(&mut self, key: &str, value: &dyn Display, most: usize) {
        self.member(key, &mut |line| quote(line, value, most));
    }

    #[inline(never)]
    fn literal(&mut self, key: &str, value: &dyn Display) {
        self.member(key, &mut |line| put(line, format_args!("{value}")));
    }

    fn member(&mut self, key: &str, value: &mut dyn FnMut(&mut Line)) {
        self.whole(&mut |line| {
            put(line, format_args!("\"{key}\":"));
            value(line);
        });
    }

    /// Writes one part whole or not at all.
    fn whole(&mut self, write: &mut dyn FnMut(&mut Line)) {
        let (before, was_cut) = (self.line.len, self.line.is_cut);
        self.line.is_cut = false;
        if !self.is_empty {
            put(self.line, format_args!(","));
        }
        write(self.line);
        if self.line.is_cut {
            self.line.len = before;
        } else {
            self.is_empty = false;
        }
        self.line.is_cut = was_cut;
    }

    fn open(&mut self, bracket: &str) {
        put(self.line, format_args!("{bracket}"));
    }

    /// Always fits: nothing else goes beyond [`CLOSING`] bytes before the end.
    fn close(&mut self, bracket: &str) {
        self.line.append(bracket, libc::PIPE_BUF.saturating_sub(1));
    }
}

fn put(line: &mut Line, text: fmt::Arguments<'_>) {
    let _ = Before(line, libc::PIPE_BUF.saturating_sub(CLOSING)).write_fmt(text);
}

/// Writes up to this place of the line.
struct Before<'a>(&'a mut Line, usize);

impl fmt::Write for Before<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.append(text, self.1);
        Ok(())
    }
}

/// A JSON string of at most so many bytes between the quotes; what is cut ends with an ellipsis.
fn quote(line: &mut Line, value: &dyn Display, most: usize) {
    put(line, format_args!("\""));
    let mut escaped = Escaped { line, left: most };
    if write!(escaped, "{value}").is_err() {
        put(line, format_args!("…"));
    }
    put(line, format_args!("\""));
}

struct Escaped<'a> {
    line: &'a mut Line,
    left: usize,
}

impl fmt::Write for Escaped<'_> {
    /// An error says that there is no room left, and ends the writing of the value.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let before = self.line.len;
            match c {
                '"' | '\\' => put(self.line, format_args!("\\{c}")),
                '\0'..='\x1f' => put(self.line, format_args!("\\u{:04x}", u32::from(c))),
                c => put(self.line, format_args!("{c}")),
            }
            let Some(left) = self.left.checked_sub(self.line.len.saturating_sub(before)) else {
                self.line.len = before;
                return Err(fmt::Error);
            };
            self.left = left;
        }
        Ok(())
    }
}

/// A time as RFC 3339 has it, in UTC, from the time since 1970.
struct Timestamp(Duration);

impl Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", self.0.subsec_millis())
    }
}

/// Year, month and day of so many days after 1970-01-01, month by month.
fn date(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // 400 years have 146,097 days, whichever they are.
    let mut year = (days / 146_097).saturating_mul(400).saturating_add(1970);
    days %= 146_097;
    loop {
        let february = if is_leap(year) { 29 } else { 28 };
        for (month, length) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
            match days.checked_sub(length) {
                Some(left) => days = left,
                None => return (year, month, days.saturating_add(1)),
            }
        }
        year = year.saturating_add(1);
    }
}

/// Where the reason of an abnormal end goes (`--termination-log`), for `kubectl describe pod`.
///
/// The file is opened at the start and stays open. At the end its path may be the work of another user: the command may own
/// the directory, and have put a link there to a file that only foster's user may write.
pub struct TerminationLog(File);

/// Neither a FIFO without a reader nor a terminal may block foster.
const AT_ONCE: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;

impl TerminationLog {
    /// Opens it, or makes it.
    ///
    /// # Errors
    /// Whatever open(2) says.
    #[cold]
    pub fn at(path: &CStr) -> std::io::Result<TerminationLog> {
        let path = OsStr::from_bytes(path.to_bytes());
        let file = OpenOptions::new().append(true).create(true).custom_flags(AT_ONCE).open(path)?;
        // If stderr is closed, the file may have got its number, and what foster says would go there.
        Ok(TerminationLog(sys::above_standard(file)?))
    }

    /// Its descriptor, which foster does not close.
    pub fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Appends one line. What the application wrote there stays, and a line that it left unfinished is finished.
    ///
    /// # Errors
    /// Whatever write(2) says; ENOENT if the file was removed, since nobody would see the line.
    // Not inlined: the line would be part of the caller's frame, and the stack may be small.
    #[cold]
    #[inline(never)]
    pub fn append(&self, message: fmt::Arguments<'_>) -> std::io::Result<()> {
        let metadata = self.0.metadata()?;
        if metadata.is_file() && metadata.nlink() == 0 {
            return Err(std::io::Error::from_raw_os_error(libc::ENOENT));
        }
        let mut line = Line::new();
        let start = if self.ends_within_a_line() { "\n" } else { "" };
        line.say(format_args!("{start}foster: {message}"));
        (&self.0).write_all(line.finish())
    }

    /// It may not be allowed to read it, so it was opened for writing alone.
    fn ends_within_a_line(&self) -> bool {
        let last_byte = || {
            let same = format!("/proc/self/fd/{}", self.0.as_raw_fd());
            let mut file = OpenOptions::new().read(true).custom_flags(AT_ONCE).open(same)?;
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            std::io::Result::Ok(last)
        };
        last_byte().is_ok_and(|last| last != *b"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::OneLine;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn a_line_is_cut_at_what_a_pipe_takes_whole_and_always_ends() {
        for (text, expected) in [("", 1), ("ab", 3), (&"x".repeat(4095), 4096), (&"x".repeat(9000), 4096)] {
            let mut line = Line::new();
            write!(line, "{text}").expect("never fails");
            write!(line, "").expect("never fails");
            assert_eq!(line.finish().len(), expected);
            assert_eq!(line.finish().last(), Some(&b'\n'));
        }
        let mut line = Line::new();
        write!(line, "{}é", "x".repeat(4095)).expect("never fails");
        assert!(std::str::from_utf8(line.finish()).is_ok(), "cut between characters");
    }

    /// The line that these members make, as another JSON parser reads it.
    fn parsed(members: impl FnOnce(&mut Object<'_>)) -> Value {
        let mut line = Line::new();
        line.object(members);
        let text = std::str::from_utf8(line.finish()).expect("UTF-8");
        assert!(text.len() <= libc::PIPE_BUF && text.ends_with("}\n"), "{text}");
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn members_are_what_they_were() {
        let value = parsed(|object| {
            object.text("name", "a \"b\" \\ c\n\u{1}é");
            object.plain("count", 12);
            object.plain("flag", true);
            object.seconds("age_s", Duration::from_millis(1_005));
            object.list("items", [1, 2].into_iter(), |object, item| object.plain("pid", item));
            object.list("none", [0; 0].into_iter(), |object, item| object.plain("pid", item));
        });
        let expected = serde_json::json!({
            "name": "a \"b\" \\ c\n\u{1}é", "count": 12, "flag": true, "age_s": 1.005,
            "items": [{"pid": 1}, {"pid": 2}], "none": []
        });
        assert_eq!(value, expected);
        assert_eq!(parsed(|_| {}), serde_json::json!({}));
    }

    #[test]
    fn what_does_not_fit_is_left_out_or_cut_and_the_rest_is_there() {
        let long = "\"".repeat(9000);
        let value = parsed(|object| {
            object.long_text("message", &long);
            for key in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"] {
                object.text(key, &long);
            }
            object.plain("last", 1);
        });
        assert_eq!(value["message"].as_str().map(str::len), Some(LONG_TEXT_BYTES / 2 + "…".len()));
        assert_eq!(value["a"], format!("{}…", "\"".repeat(TEXT_BYTES / 2)));
        assert_eq!((value.get("k"), value.get("last")), (None, Some(&Value::from(1))), "{value}");
        let list = parsed(|object| {
            object.list("items", 0..9000, |object, item| object.plain("pid", item));
        });
        assert!(list["items"].as_array().is_some_and(|items| items.len() > 200), "{list}");
    }

    proptest! {
        #[test]
        fn a_line_always_parses(
            names in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 0..60),
            message in proptest::collection::vec(any::<u8>(), 0..5000),
        ) {
            parsed(|object| {
                object.long_text("message", OneLine(&message));
                for name in &names {
                    object.text("name", OneLine(name));
                }
                object.list("items", names.iter(), |object, name| object.text("name", OneLine(name)));
            });
        }

        #[test]
        fn a_date_is_what_the_calendar_says(days in 0..3_000_000_u64) {
            let (year, month, day) = date(days);
            // Days between two dates by another way: Julian day numbers (Fliegel and Van Flandern).
            let (y, m, d) = (year as i64, month as i64, day as i64);
            let julian = (1461 * (y + 4800 + (m - 14) / 12)) / 4 + (367 * (m - 2 - 12 * ((m - 14) / 12))) / 12
                - (3 * ((y + 4900 + (m - 14) / 12) / 100)) / 4 + d - 32075;
            prop_assert_eq!(julian - 2_440_588, days as i64);
        }
    }

    #[test]
    fn a_time_is_written_as_rfc_3339_has_it() {
        for (seconds, shown) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_795_545_283, "2026-11-24T18:34:43.007Z"),
            (4_107_542_399, "2100-02-28T23:59:59.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            let time = Duration::from_secs(seconds).saturating_add(Duration::from_millis(7));
            assert_eq!(Timestamp(time).to_string(), shown);
        }
    }

    #[test]
    fn the_termination_log_keeps_what_is_there_and_starts_a_line() {
        let path = std::env::temp_dir().join(format!("foster-termination-log-{}", std::process::id()));
        let name = std::ffi::CString::new(path.as_os_str().as_bytes()).expect("no NUL");
        for (before, after) in [("", "foster: why\n"), ("app\n", "app\nfoster: why\n"), ("app", "app\nfoster: why\n")] {
            std::fs::write(&path, before).expect("written");
            TerminationLog::at(&name).expect("opened").append(format_args!("why")).expect("appended");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), after);
        }
        std::fs::remove_file(&path).expect("removed");
        assert!(TerminationLog::at(c"/nonexistent/log").is_err());
    }
}
