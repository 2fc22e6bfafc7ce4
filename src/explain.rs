//! `foster --explain`: looks at what a start would find, and starts nothing. `report/explain.rs` has the words.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::cli::expand_command;
use crate::config::Config;
use crate::exit::OWN_FAILURE;
use crate::spawn::{self, Failure};
use crate::sys::{self, Ids};
use crate::user::User;

/// What a start would find.
pub struct Seen {
    pub is_pid1: bool,
    /// The command and its arguments, if they were expanded (`--expand-env`).
    pub expanded: Option<Vec<CString>>,
    /// The file that would be executed.
    pub file: Option<CString>,
    /// The user whom `--user` asks for.
    pub user: Option<User>,
    /// Whom foster runs as; `None`: a sandbox refuses to say.
    pub own: Option<Ids>,
    /// Where the command would run.
    pub directory: PathBuf,
    /// Why a start would fail.
    pub failure: Option<Failure>,
}

impl Seen {
    /// The command and its arguments as they would be executed.
    pub fn words<'a>(&'a self, config: &'a Config) -> impl Iterator<Item = &'a CStr> {
        let expanded = self.expanded.iter().flatten().map(CString::as_c_str);
        let given = if self.expanded.is_some() { &[][..] } else { config.command };
        expanded.chain(given.iter().copied())
    }
}

/// Looks at the environment, /etc/passwd and the file system.
#[cold]
pub fn look(config: &Config, environment: &[&CStr]) -> Seen {
    let mut seen = Seen {
        is_pid1: sys::pid() == 1,
        expanded: None,
        file: None,
        user: None,
        own: sys::ids().map(|[_, own, _]| own),
        directory: std::env::current_dir().unwrap_or_default(),
        failure: None,
    };
    if let Some(directory) = &config.directory {
        seen.directory.push(OsStr::from_bytes(directory.to_bytes()));
    }
    seen.failure = look_further(config, environment, &mut seen).err();
    seen
}

/// In the order in which a start would fail.
fn look_further(config: &Config, environment: &[&CStr], seen: &mut Seen) -> Result<(), Failure> {
    seen.user = spawn::wanted_user(config)?;
    let environment = spawn::environment_for(seen.user.as_ref(), environment);
    if config.expand_env {
        let expanded = expand_command(config.command, &environment);
        seen.expanded = Some(expanded.map_err(|message| Failure { code: OWN_FAILURE, message })?);
    }
    // The path of something in it, which only a directory can have.
    seen.directory
        .join(".")
        .metadata()
        .map_err(|error| Failure::no_directory(config, Errno::from_raw(error.raw_os_error().unwrap_or_default())))?;
    let name = seen.words(config).next().map(CStr::to_bytes);
    seen.file = name.map(|name| spawn::locate(name, config, &environment)).transpose()?;
    Ok(())
}
