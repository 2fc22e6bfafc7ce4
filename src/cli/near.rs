//! What somebody may have meant who mistyped a word.

/// Looks for the word that is nearest to what was typed, with as much as one mistake for every three letters.
pub struct Nearest<'a> {
    typed: &'a [u8],
    /// How many mistakes, and the word.
    best: Option<(usize, String)>,
}

impl Nearest<'_> {
    /// For what was typed; no word is known yet.
    pub fn to(typed: &[u8]) -> Nearest<'_> {
        Nearest { typed, best: None }
    }

    /// A word that may be meant. Of two that are as near, the first counts.
    #[cold]
    pub fn offer(&mut self, word: &str) {
        // More mistakes than three make another word, and each takes four times as long to look for.
        let most =
            self.best.as_ref().map_or((self.typed.len() / 3).min(3).saturating_add(1), |(mistakes, _)| *mistakes);
        if let Some(mistakes) = (0..most).find(|mistakes| is_within(*mistakes, self.typed, word.as_bytes())) {
            self.best = Some((mistakes, word.to_owned()));
        }
    }

    /// The word, if one is near.
    pub fn found(self) -> Option<String> {
        self.best.map(|(_, word)| word)
    }
}

/// The nearest of a few words.
#[cold]
pub fn nearest(typed: &[u8], words: &[&str]) -> Option<String> {
    let mut nearest = Nearest::to(typed);
    for word in words {
        nearest.offer(word);
    }
    nearest.found()
}

/// ` (did you mean --grace?)`, or nothing.
#[cold]
pub fn did_you_mean(meant: Option<String>) -> String {
    meant.map_or(String::new(), |meant| format!(" (did you mean {meant}?)"))
}

/// Whether one word becomes the other when as many letters are left out, put in, changed or swapped with the next.
fn is_within(mistakes: usize, mut a: &[u8], mut b: &[u8]) -> bool {
    while let ([x, rest_a @ ..], [y, rest_b @ ..]) = (a, b)
        && x.eq_ignore_ascii_case(y)
    {
        (a, b) = (rest_a, rest_b);
    }
    let Some(left) = mistakes.checked_sub(1) else { return a.is_empty() && b.is_empty() };
    let (rest_a, rest_b) = (a.get(1..).unwrap_or_default(), b.get(1..).unwrap_or_default());
    let swapped = match (a, b) {
        ([x, next_x, ..], [y, next_y, ..]) => x.eq_ignore_ascii_case(next_y) && next_x.eq_ignore_ascii_case(y),
        _ => false,
    };
    (swapped && is_within(left, a.get(2..).unwrap_or_default(), b.get(2..).unwrap_or_default()))
        || is_within(left, rest_a, rest_b)
        || is_within(left, rest_a, b)
        || is_within(left, a, rest_b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORDS: &[&str] = &["grace", "group", "stop", "TERM", "TRAP", "termination-log", "check"];

    #[test]
    fn a_typing_error_leads_to_the_word_that_was_meant() {
        for (typed, meant) in [
            ("gracee", Some("grace")),
            ("grcae", Some("grace")),
            ("GRACE", Some("grace")),
            ("rgoup", Some("group")),
            ("stp", Some("stop")),
            ("trm", Some("TERM")),
            ("TREM", Some("TERM")),
            ("terminationlog", Some("termination-log")),
            ("chekc", Some("check")),
            ("", None),
            ("go", None),
            ("graceless", None),
            ("quit", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed.as_bytes(), WORDS).as_deref(), meant, "{typed}");
        }
        assert_eq!(nearest(b"K", &["g", "k"]).as_deref(), Some("k"), "one letter has no mistake but its case");
    }

    proptest! {
        #[test]
        fn as_many_mistakes_are_found_as_were_made(word in "[a-z]{9,12}", place in 0_usize..9, letter in "[a-z]") {
            let mut typed = word.clone();
            typed.replace_range(place..=place, &letter);
            let (missing, more) = (format!("{}{}", &word[..place], &word[place + 1..]), format!("{word}{letter}"));
            for typed in [typed, missing, more] {
                prop_assert!(is_within(1, typed.as_bytes(), word.as_bytes()), "{}", typed);
                prop_assert!(is_within(1, word.as_bytes(), typed.as_bytes()), "{}", typed);
            }
        }

        #[test]
        fn no_word_takes_long_or_makes_it_panic(typed in proptest::collection::vec(any::<u8>(), 0..300)) {
            nearest(&typed, WORDS);
            nearest(b"termination", &["tttttttttttttttttttttttttttttttttttttttttttttttttttttt"]);
        }
    }
}
