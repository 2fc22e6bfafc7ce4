//! Bytes of unknown origin, shown on one line.

use std::fmt;

/// A process's name as the kernel keeps it: at most 15 bytes of anything (`comm` in proc(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; 15],
    len: u8,
}

impl Name {
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
        fmt::Display::fmt(&OneLine(self.bytes.get(..usize::from(self.len)).unwrap_or_default()), f)
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
                    fmt::Write::write_char(f, c)?;
                }
            }
            fmt::Display::fmt(&chunk.invalid().escape_ascii(), f)?;
        }
        Ok(())
    }
}
