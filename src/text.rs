//! Bytes of unknown origin, shown on one line.

use std::fmt::{self, Write as _};

/// A process's name as the kernel keeps it: at most 15 bytes of anything (`comm` in proc(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; 15],
    len: u8,
}

impl Name {
    /// The name's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The name in these bytes, cut to what the kernel keeps.
    pub fn new(name: &[u8]) -> Name {
        let mut bytes = [0; 15];
        let len = name.len().min(bytes.len());
        for (to, from) in bytes.iter_mut().zip(name) {
            *to = *from;
        }
        Name { bytes, len: u8::try_from(len).unwrap_or(0) }
    }
}

/// On one line whatever the bytes are: control characters and what is not UTF-8 are escaped.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&OneLine(self.bytes()), f)
    }
}

/// How many bytes of a command line are kept, to tell one process of an interpreter from another.
const ARGUMENTS: usize = 40;

/// Who a process is: its name, and of an interpreter the beginning of its arguments too, since many are called `sh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Title {
    pub name: Name,
    /// With blanks between them.
    arguments: [u8; ARGUMENTS],
    len: u8,
}

impl Title {
    /// A process of this name, with nothing known of its arguments.
    pub fn new(name: Name) -> Title {
        Title { name, arguments: [0; ARGUMENTS], len: 0 }
    }

    /// The same with the beginning of its command line, as /proc has it: words that end in a NUL. The first one, by which it
    /// was called, is left out; there may be a long path in it, and the name says what it is.
    pub fn with_command_line(name: Name, command_line: &[u8]) -> Title {
        let mut title = Title::new(name);
        let mut words = command_line.strip_suffix(b"\0").unwrap_or(command_line).splitn(2, |b| *b == 0);
        for (to, from) in title.arguments.iter_mut().zip(words.nth(1).unwrap_or_default()) {
            *to = if *from == 0 { b' ' } else { *from };
            title.len = title.len.saturating_add(1);
        }
        title
    }

    /// The beginning of its arguments, if it is known.
    pub fn arguments(&self) -> Option<OneLine<'_>> {
        self.arguments.get(..usize::from(self.len)).filter(|arguments| !arguments.is_empty()).map(OneLine)
    }
}

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.name, f)?;
        self.arguments().map_or(Ok(()), |arguments| write!(f, " {arguments}"))
    }
}

/// At most so many characters of something. The last one is an ellipsis if there would be more.
pub struct Short<'a>(pub &'a dyn fmt::Display, pub usize);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Short(text, most) = *self;
        let mut cut = Cut { f: Some(f), left: most, held: None };
        match (cut.write(text), cut.held) {
            (Err(_), _) => f.write_str("…"),
            (Ok(()), Some(last)) => f.write_char(last),
            (Ok(()), None) => Ok(()),
        }
    }
}

/// How many characters it takes to show something.
pub fn length(text: &dyn fmt::Display) -> usize {
    let mut count = Cut { f: None, left: usize::MAX, held: None };
    // There is room for everything.
    let _ = count.write(text);
    usize::MAX.saturating_sub(count.left)
}

/// Has room for so many characters, and writes them where they are to be written.
struct Cut<'a, 'b> {
    f: Option<&'a mut fmt::Formatter<'b>>,
    left: usize,
    /// The last that has room. Whether an ellipsis takes its place is known when one more comes.
    held: Option<char>,
}

impl Cut<'_, '_> {
    /// An error says that there is no room left.
    fn write(&mut self, text: &dyn fmt::Display) -> fmt::Result {
        self.write_fmt(format_args!("{text}"))
    }
}

impl fmt::Write for Cut<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match (self.left, &mut self.f) {
                (0, _) => return Err(fmt::Error),
                (1, _) => self.held = Some(c),
                (_, Some(f)) => f.write_char(c)?,
                (_, None) => {}
            }
            self.left = self.left.saturating_sub(1);
        }
        Ok(())
    }
}

/// Shows bytes of unknown origin on one line.
pub struct OneLine<'a>(pub &'a [u8]);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() || c == '\u{2028}' || c == '\u{2029}' {
                    fmt::Display::fmt(&c.escape_default(), f)?;
                } else {
                    f.write_char(c)?;
                }
            }
            fmt::Display::fmt(&chunk.invalid().escape_ascii(), f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_too_long_ends_with_an_ellipsis() {
        for (text, most, shown) in
            [("", 3, ""), ("abc", 3, "abc"), ("abcd", 3, "ab…"), ("äöüß", 3, "äö…"), ("abcd", 1, "…"), ("a", 1, "a")]
        {
            assert_eq!(Short(&text, most).to_string(), shown, "{text}");
        }
    }

    #[test]
    fn a_title_has_the_arguments_behind_the_name() {
        let title = |line: &[u8]| Title::with_command_line(Name::new(b"sh"), line).to_string();
        assert_eq!(title(b"/bin/sh\0-c\0exec app\0"), "sh -c exec app");
        assert_eq!(title(b"sh\0a\nb\xff\0"), "sh a\\nb\\xff");
        assert_eq!(title(b""), "sh", "a zombie's");
        assert_eq!(title(b"sh"), "sh");
        assert_eq!(title(&[b'x'; 4096]), "sh");
        assert_eq!(title(&[&b"sh\0"[..], &[b'x'; 4096]].concat()), format!("sh {}", "x".repeat(ARGUMENTS)));
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_are_it_is_one_line_of_that_length(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), most in 1_usize..60,
        ) {
            let title = Title::with_command_line(Name::new(&bytes), &bytes);
            let shown = Short(&title, most).to_string();
            prop_assert!(shown.chars().count() <= most && !shown.contains(|c: char| c.is_control()));
            prop_assert_eq!(length(&shown), shown.chars().count());
            prop_assert_eq!(shown.ends_with('…'), length(&title) > most);
        }
    }
}
