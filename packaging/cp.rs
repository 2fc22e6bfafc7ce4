//! `cp FROM TO`, static: what the installer image copies foster with, since an image that has foster alone has no cp. TO may
//! be a directory. An example of the crate, so that it is built like foster for each architecture and never installed.
#![allow(clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where the copy goes: `to` itself, or the file of that name in it.
fn destination(from: &Path, to: &Path) -> PathBuf {
    match from.file_name() {
        Some(name) if to.is_dir() => to.join(name),
        _ => to.to_owned(),
    }
}

fn main() -> ExitCode {
    let words: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [from, to] = &words[..] else {
        eprintln!("cp: usage: cp FROM TO");
        return ExitCode::from(2);
    };
    let to = destination(from, to);
    // With the permissions, so the copy can be executed.
    match std::fs::copy(from, &to) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cp: {} to {}: {error}", from.display(), to.display());
            ExitCode::FAILURE
        }
    }
}
