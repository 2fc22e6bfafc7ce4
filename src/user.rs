//! Who the command runs as (`--user`), resolved as gosu and su-exec do it: from the image's own files, without NSS, which a
//! static binary cannot have. Only [`lookup`] reads files. Its errors name the file and what is wrong with the line, so their
//! words are here.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;

use crate::config::{UserSpec, Who, parse_id as id};
use crate::sys::{Identity, Ids};

/// A user that the command can run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its ids.
    pub identity: Identity,
    /// Its entry for the environment, `HOME=` included.
    pub home: CString,
}

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// Looks a user up in the files of this file system.
///
/// # Errors
/// One line: who is unknown, or what is wrong with which file.
#[cold]
pub fn lookup(spec: &UserSpec, own: Ids) -> Result<User, String> {
    resolve(spec, own, read(PASSWD)?.as_deref(), read(GROUP)?.as_deref())
}

/// No such file is as large, and foster can afford to read as much.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// `None` for a file that does not exist, which is no error yet: an image from scratch has none, and an id needs none.
fn read(path: &str) -> Result<Option<Vec<u8>>, String> {
    let mut bytes = Vec::new();
    // To open a FIFO waits for its writer, and to read a device may never end. Neither is a list of users.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let is_regular = |file: &File| file.metadata().is_ok_and(|metadata| metadata.is_file());
    if file.as_ref().is_ok_and(|file| !is_regular(file)) {
        return Err(format!("cannot read {path}: it is not a regular file"));
    }
    match file.and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes)) {
        Ok(_) if u64::try_from(bytes.len()) == Ok(MAX_BYTES) => {
            Err(format!("cannot use {path}: it is larger than {} MiB", MAX_BYTES / 1024 / 1024))
        }
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
            Err(format!("cannot read {path}: {}", errno.desc()))
        }
    }
}

/// What gosu makes of it (its setup-user.go, and GetExecUser of moby/sys/user): a user brings the group and the home of
/// its entry. An id without an entry keeps the group that foster has, and its home is `/`; without a user there is only
/// another group. The supplementary groups are those that list the user, or none when a group was given.
///
/// The group itself is among the supplementary groups too, as with initgroups(3), su-exec and Docker; gosu leaves it out,
/// and then a set-group-ID program would be rid of it.
pub fn resolve(spec: &UserSpec, own: Ids, passwd: Option<&[u8]>, group: Option<&[u8]>) -> Result<User, String> {
    let user = spec.user.clone().unwrap_or(Who::Id(own.uid));
    let entry = find(PASSWD, passwd, "user", &user, |line| account(line).is_some())?;
    let account = match (entry.and_then(account), &user) {
        (Some(account), _) => account,
        (None, Who::Id(uid)) => Account { name: b"", uid: *uid, gid: own.gid, home: b"/" },
        (None, Who::Name(_)) => return Err(unknown("user", &user, PASSWD, passwd)),
    };
    let gid = match &spec.group {
        None => account.gid,
        Some(who) => {
            let entry = find(GROUP, group, "group", who, |line| group_id(line).is_some())?;
            match (entry.and_then(group_id), who) {
                (Some(gid), _) => gid,
                (None, Who::Id(gid)) => *gid,
                (None, Who::Name(_)) => return Err(unknown("group", who, GROUP, group)),
            }
        }
    };
    let mut groups = vec![gid];
    if spec.group.is_none() && !account.name.is_empty() {
        let listing = lines(group.unwrap_or_default()).filter(|line| lists(line, account.name));
        groups.extend(listing.filter_map(group_id).filter(|other| *other != gid));
    }
    let home = CString::new([b"HOME=", account.home].concat());
    let home = home.map_err(|_| format!("{PASSWD}: the home directory of user '{user}' holds a NUL byte"))?;
    Ok(User { identity: Identity { uid: account.uid, gid, groups }, home })
}

fn unknown(kind: &str, who: &Who, path: &str, file: Option<&[u8]>) -> String {
    match file {
        Some(_) => format!("{kind} '{who}' is unknown: there is no such name in {path}"),
        None => format!("{kind} '{who}' is unknown: there is no {path}, so only an id can be given"),
    }
}

/// Whether a line of /etc/passwd or /etc/group is about this one. Both begin with name, password and id.
fn is_about(line: &[u8], who: &Who) -> bool {
    match who {
        Who::Id(sought) => field(line, 2).and_then(id) == Some(*sought),
        Who::Name(sought) => field(line, 0) == Some(sought),
    }
}

/// The first well-formed line about `who`.
fn find<'a>(
    path: &str,
    file: Option<&'a [u8]>,
    kind: &str,
    who: &Who,
    is_well_formed: fn(&[u8]) -> bool,
) -> Result<Option<&'a [u8]>, String> {
    let mut is_there = false;
    for line in lines(file.unwrap_or_default()).filter(|line| is_about(line, who)) {
        if is_well_formed(line) {
            return Ok(Some(line));
        }
        is_there = true;
    }
    if is_there {
        return Err(format!("the line about {kind} '{who}' in {path} is malformed: an id is missing or out of range"));
    }
    Ok(None)
}

/// The lines that say something, as glibc has it: blanks around them, empty lines, comments, and the `+` and `-` of NIS
/// do not count.
fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = file.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !matches!(line.first(), None | Some(b'#' | b'+' | b'-')))
}

/// `name:password:uid:gid:comment:home:shell` (passwd(5)).
struct Account<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

/// As with glibc, what follows the ids may be missing.
fn account(line: &[u8]) -> Option<Account<'_>> {
    let (uid, gid) = (field(line, 2).and_then(id)?, field(line, 3).and_then(id)?);
    Some(Account { name: field(line, 0)?, uid, gid, home: field(line, 5).unwrap_or_default() })
}

/// `name:password:gid:member,member` (group(5)).
fn group_id(line: &[u8]) -> Option<u32> {
    field(line, 2).and_then(id)
}

fn lists(group: &[u8], user: &[u8]) -> bool {
    field(group, 3).is_some_and(|members| members.split(|b| *b == b',').any(|member| member.trim_ascii() == user))
}

fn field(line: &[u8], index: usize) -> Option<&[u8]> {
    line.split(|b| *b == b':').nth(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD_FILE: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        # app:x:1:1::/commented:/bin/sh\n\
        \n\
        no colons at all\n\
        app:x:1000:1000:App:/home/app:/bin/sh\n\
        app:x:2000:2000::/home/second:/bin/sh\n\
        \t www:x:33:33::/var/www\r\n\
        short:x:40:41\n\
        homeless:x:42:42:::/bin/sh\n\
        1337:x:1338:1338::/home/digits:/bin/sh\n\
        bad-uid:x:x1:7::/:/bin/sh\n\
        bad-gid:x:50:::/:/bin/sh\n\
        mended:x:-1:60::/:/bin/sh\n\
        mended:x:60:60::/mended:/bin/sh\n\
        minus:x:4294967295:0::/:/bin/sh\n\
        +nis:x:0:0::/:/bin/sh\n\
        nul:x:70:70::/a\0b:/bin/sh\n\
        last:x:80:80::/last:/bin/sh";
    const GROUP_FILE: &[u8] = b"root:x:0:\nweb:x:33:other, app\nextra:x:2001:app,other\nbad:x::app\n\
        # hidden:x:2002:app\napp:x:1000:app\nweb:x:34:\nends:x:2003:last,app\r\nbad-gid:x:y:\n";
    const OWN: Ids = Ids { uid: 0, gid: 5 };

    fn resolved(spec: &str) -> Result<(u32, Vec<u32>, String), String> {
        let spec = UserSpec::parse(spec.as_bytes()).expect("a spec");
        let User { identity, home } = resolve(&spec, OWN, Some(PASSWD_FILE), Some(GROUP_FILE))?;
        assert_eq!(identity.groups.first(), Some(&identity.gid));
        Ok((identity.uid, identity.groups, home.into_string().expect("text")))
    }

    #[test]
    fn a_user_brings_group_groups_and_home_as_with_gosu() {
        let app_groups = vec![1000, 33, 2001, 2003];
        for (spec, uid, groups, home) in [
            ("app", 1000, app_groups.clone(), "/home/app"),
            ("app:", 1000, app_groups.clone(), "/home/app"),
            ("1000", 1000, app_groups, "/home/app"),
            ("app:web", 1000, vec![33], "/home/app"),
            ("app:34", 1000, vec![34], "/home/app"),
            ("1000:77", 1000, vec![77], "/home/app"),
            ("www", 33, vec![33], "/var/www"),
            ("short", 40, vec![41], ""),
            ("homeless", 42, vec![42], ""),
            ("1337", 1337, vec![5], "/"),
            ("1338", 1338, vec![1338], "/home/digits"),
            ("4294967294", 4_294_967_294, vec![5], "/"),
            ("0042", 42, vec![42], ""),
            ("4711:web", 4711, vec![33], "/"),
            (":web", 0, vec![33], "/root"),
            ("root", 0, vec![0], "/root"),
            ("mended", 60, vec![60], "/mended"),
            ("last", 80, vec![80, 2003], "/last"),
        ] {
            assert_eq!(resolved(spec), Ok((uid, groups, format!("HOME={home}"))), "{spec}");
        }
    }

    #[test]
    fn who_cannot_be_found_is_named_with_the_file() {
        for (spec, message) in [
            ("nobody-here", "user 'nobody-here' is unknown: there is no such name in /etc/passwd"),
            ("+nis", "user '+nis' is unknown"),
            ("# app", "user '# app' is unknown"),
            ("app\n", "user 'app\\n' is unknown"),
            ("app:nowhere", "group 'nowhere' is unknown: there is no such name in /etc/group"),
            ("app:web:x", "group 'web:x' is unknown"),
            ("bad-uid", "the line about user 'bad-uid' in /etc/passwd is malformed: an id is missing or out of range"),
            ("bad-gid", "the line about user 'bad-gid' in /etc/passwd is malformed"),
            ("50", "the line about user '50' in /etc/passwd is malformed"),
            ("minus", "the line about user 'minus' in /etc/passwd is malformed"),
            ("app:bad", "the line about group 'bad' in /etc/group is malformed"),
            ("no colons at all", "the line about user 'no colons at all' in /etc/passwd is malformed"),
            ("nul", "/etc/passwd: the home directory of user 'nul' holds a NUL byte"),
        ] {
            let error = resolved(spec).expect_err(spec);
            assert!(error.starts_with(message), "{spec:?}: {error}");
        }
    }

    #[test]
    fn a_file_that_is_missing_is_none_and_one_that_cannot_be_read_is_an_error() {
        assert_eq!(read("/nonexistent"), Ok(None));
        let error = "cannot read /dev/null/passwd: Not a directory".to_owned();
        assert_eq!(read("/dev/null/passwd"), Err(error));
        assert_eq!(read("/dev/null"), Err("cannot read /dev/null: it is not a regular file".to_owned()));
    }

    #[test]
    fn without_the_files_ids_still_work() {
        let resolve = |spec: &str| resolve(&UserSpec::parse(spec.as_bytes()).expect("a spec"), OWN, None, None);
        let identity = resolve("1000:1001").expect("ids").identity;
        assert_eq!(identity, Identity { uid: 1000, gid: 1001, groups: vec![1001] });
        let missing = "user 'app' is unknown: there is no /etc/passwd, so only an id can be given";
        assert_eq!(resolve("app").expect_err("no file"), missing);
        let missing = "group 'web' is unknown: there is no /etc/group, so only an id can be given";
        assert_eq!(resolve("1000:web").expect_err("no file"), missing);
    }

    #[test]
    fn nothing_and_ids_out_of_range_are_refused() {
        for text in ["", ":", "4294967295", "99999999999999999999", "0:4294967295", "4294967296:0"] {
            assert_eq!(UserSpec::parse(text.as_bytes()), None, "{text}");
        }
        for text in ["app", "app:web", ":web", "0:0", "4294967294", "-1", "+1"] {
            assert_eq!(UserSpec::parse(text.as_bytes()).map(|spec| spec.to_string()).as_deref(), Some(text));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(
            spec in "[a:0-9x]{0,4}", own in any::<u32>(),
            passwd in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b':'), Just(b'a'), Just(b'\n'), Just(b'0')], 0..200),
            group in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b':'), Just(b','), Just(b'\n'), Just(b'0')], 0..200),
        ) {
            UserSpec::parse(&passwd);
            if let Some(spec) = UserSpec::parse(spec.as_bytes())
                && let Ok(user) = resolve(&spec, Ids { uid: own, gid: 0 }, Some(&passwd), Some(&group))
            {
                prop_assert!(user.identity.groups.contains(&user.identity.gid));
            }
        }
    }
}
