//! `--user` and `--chdir`: the command is who it should be, where it should be, or it is not started.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use crate::harness::{
    End, Finished, Foster, Place, Scratch, binaries, everywhere, fixture, namespaces, only_child, plainly, poll,
    runs_as_root, skipped,
};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh
# app:x:1:1::/commented:/bin/sh

a line without colons
app:x:1000:1000:App,,,:/home/app:/bin/sh
app:x:2000:2000::/home/second:/bin/sh
www:x:33:33::/var/www:/bin/sh
homeless:x:42:42:::/bin/sh
1337:x:1338:1338::/home/digits:/bin/sh
bad:x:oops:1000::/home/bad:/bin/sh
";

const GROUP: &str = "root:x:0:
web:x:33:other,app
staff:x:2001:www,app
app:x:1000:app
web:x:34:app
bad:x:oops:
";

/// As gosu and su-exec take them.
const SPECS: &[&str] = &[
    "app",
    "www",
    "app:",
    "app:web",
    "app:34",
    "app:4711",
    "1000",
    "1000:staff",
    "33:33",
    "4711",
    "4711:web",
    "4711:4712",
    ":web",
    ":4712",
    "root",
    "0",
    "0:web",
    "homeless",
    "1337",
    "1338",
    "2147483647:2147483647",
];

/// Whether there are other users to become. Ordinary users, CI's among them, have none.
fn is_root() -> bool {
    static IS_ROOT: LazyLock<bool> = LazyLock::new(|| {
        let is_root = runs_as_root();
        if !is_root {
            skipped("not root, so no command can be given another user (--user)");
        }
        is_root
    });
    *IS_ROOT
}

/// A directory with users of its own and the fixture, where every user can reach it.
struct Image(Scratch);

impl Image {
    fn new(name: &str) -> Image {
        let scratch = Scratch::new(name);
        scratch.file("passwd", PASSWD.as_bytes(), "644");
        scratch.file("group", GROUP.as_bytes(), "644");
        scratch.file("fixture", &std::fs::read(fixture()).unwrap(), "755");
        Image(scratch)
    }

    fn fixture(&self) -> String {
        self.0.path("fixture").to_str().unwrap().to_owned()
    }

    /// A program in a mount namespace that has this image's users.
    fn foster(&self, program: &Path, place: Place) -> Foster {
        self.foster_after(program, place, "")
    }

    /// The same, after more of a shell script.
    fn foster_after(&self, program: &Path, place: Place, more: &str) -> Foster {
        let script = format!(
            "set -e; mount --bind {0}passwd /etc/passwd; mount --bind {0}group /etc/group; {more}\nexec \"$@\"",
            self.0.path("").display()
        );
        Foster::new(program, place).with_machines_users().after(&["sh", "-c", &script, "sh"])
    }
}

/// Two lines of the fixture, and its end.
fn identity(run: crate::harness::Run) -> String {
    let Finished { end, lines, stderr } = run.finish();
    assert_eq!((end, stderr.as_str()), (End::Exited(0), ""));
    lines.join("\n")
}

#[test]
fn the_command_is_who_gosu_would_make_it() {
    if !namespaces() || !is_root() {
        return;
    }
    let Some(gosu) = ["/usr/sbin/gosu", "/usr/local/bin/gosu"].map(Path::new).into_iter().find(|path| path.exists())
    else {
        assert!(std::env::var_os("CI").is_none(), "CI, and no gosu");
        skipped("no gosu to compare with");
        return;
    };
    let image = Image::new("gosu");
    let run = |program: &Path, place, option: Option<&str>, spec: &str| {
        let foster = image.foster(program, place).env("USER", "before").env("HOME", "/before");
        let foster = option.into_iter().fold(foster, |foster, option| foster.option(option)).option(spec);
        identity(foster.run(&[&image.fixture(), "identity"]))
    };
    for spec in SPECS {
        let theirs = run(gosu, Place::Pid1, None, spec);
        everywhere(|binary, place| {
            assert_eq!(run(binary, place, Some("-u"), spec), theirs, "{spec}");
        });
    }
}

#[test]
fn a_user_that_cannot_be_had_is_one_line_and_125_and_nothing_is_started() {
    if !namespaces() {
        return;
    }
    let image = Image::new("nobody");
    let cases = [
        ("nobody-here", "", "user 'nobody-here' is unknown: there is no such name in /etc/passwd"),
        ("app:nobody-here", "", "group 'nobody-here' is unknown: there is no such name in /etc/group"),
        ("bad", "", "the line about user 'bad' in /etc/passwd is malformed: an id is missing or out of range"),
        ("app:bad", "", "the line about group 'bad' in /etc/group is malformed: an id is missing or out of range"),
        ("4294967295", "", "'4294967295' is not accepted; give USER, USER:GROUP or :GROUP, each a name or an id;"),
        ("", "", "'' is not accepted; give USER, USER:GROUP or :GROUP"),
        (
            "app",
            "mount -t tmpfs none /etc",
            "user 'app' is unknown: there is no /etc/passwd, so only an id can be given",
        ),
        (
            "0:web",
            "mount -t tmpfs none /etc",
            "group 'web' is unknown: there is no /etc/group, so only an id can be given",
        ),
        ("app", "mount -t tmpfs none /etc; mkdir /etc/passwd", "cannot read /etc/passwd: it is not a regular file"),
        (
            "app",
            "mount -t tmpfs none /etc; truncate -s 16M /etc/passwd",
            "cannot use /etc/passwd: it is larger than 16 MiB",
        ),
    ];
    for binary in binaries() {
        for (spec, more, message) in &cases {
            let script = format!(
                "set -e; mount --bind {0}passwd /etc/passwd; mount --bind {0}group /etc/group; {more}\nexec \"$@\"",
                image.0.path("").display()
            );
            let foster = Foster::new(&binary, Place::Pid1).after(&["sh", "-c", &script, "sh"]);
            let Finished { end, lines, stderr } = foster.option("-u").option(spec).run(&["echo", "started"]).finish();
            assert_eq!((end, lines), (End::Exited(125), vec![]), "{spec}: {stderr}");
            assert!(stderr.contains("]: error: ") && stderr.contains(message), "{spec}: {stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
        // Another user than the one that this namespace has.
        let unmapped = Foster::new(&binary, Place::Pid1).option("--user=4711:4711").run(&["echo", "started"]).finish();
        assert_eq!((unmapped.end, unmapped.lines), (End::Exited(125), vec![]), "{}", unmapped.stderr);
        let message = "cannot run the command as user '4711:4711' (uid 4711, gid 4711): ";
        assert!(unmapped.stderr.contains(message) && unmapped.stderr.contains("user namespace"), "{}", unmapped.stderr);
    }
}

#[test]
fn without_privileges_only_oneself_can_be_had() {
    if !namespaces() || !is_root() {
        return;
    }
    let image = Image::new("oneself");
    everywhere(|binary, place| {
        for (groups, spec, allowed) in [
            ("1000,33,34,2001", "app", true),
            ("33,34,2001", "1000", true),
            ("1000", "app:app", true),
            ("33", ":1000", false),
            ("1000", "app", false),
            ("1000,33,34,2001", "www", false),
            ("1000,33,34,2001", "root", false),
        ] {
            let script = format!("set -- setpriv --reuid=1000 --regid=1000 --groups={groups} \"$@\"");
            let foster = image.foster_after(binary, place, &script).option("-u").option(spec);
            let Finished { end, lines, stderr } = foster.run(&[&image.fixture(), "identity"]).finish();
            if allowed {
                assert_eq!((end, stderr.as_str()), (End::Exited(0), ""), "{spec}");
                assert!(
                    lines[0].contains("uid 1000 1000 1000 1000 gid 1000 ")
                        && lines[0].contains("HOME=Some(\"/home/app\")")
                );
            } else {
                assert_eq!((end, lines), (End::Exited(125), vec![]), "{groups} {spec}: {stderr}");
                let message = format!("cannot run the command as user '{spec}' (uid ");
                assert!(
                    stderr.contains(&message) && stderr.contains("not permitted (no CAP_SETUID, or a user namespace"),
                    "{stderr}"
                );
                assert_eq!(stderr.lines().count(), 1, "{stderr}");
            }
        }
    });
}

/// Where the file system ignores the bit, it is refused for want of privileges.
#[test]
fn a_foster_installed_set_user_id_gives_nobody_another_user() {
    if !namespaces() || !is_root() {
        return;
    }
    let image = Image::new("setuid");
    for binary in binaries() {
        // Not root's: this file is everybody's to run for a moment.
        let installed = image.0.path("foster");
        let mut install = Command::new("install");
        install.args(["-o", "4712", "-g", "4712", "-m", "4755"]).args([&binary, &installed]);
        assert!(plainly(&mut install).status.success());
        for spec in ["4711:4711", "4712:4712", "root"] {
            let script = "set -- setpriv --reuid=4711 --regid=4711 --clear-groups \"$@\"";
            let foster = image.foster_after(&installed, Place::Pid1, script).option("-u").option(spec);
            let Finished { end, lines, stderr } = foster.run(&["echo", "started"]).finish();
            assert_eq!((end, lines), (End::Exited(125), vec![]), "{spec}: {stderr}");
            assert!(stderr.contains("--user is refused") || stderr.contains("not permitted"), "{stderr}");
        }
    }
}

/// foster keeps its own rights, so that it can signal the command, and stays visible to root without more capabilities.
#[test]
fn foster_itself_stays_who_it_is() {
    if !namespaces() || !is_root() {
        return;
    }
    let image = Image::new("itself");
    let setpriv = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", "--"];
    everywhere(|binary, place| {
        let script = format!("set -- {} \"$@\"", setpriv.join(" "));
        let foster = image.foster_after(binary, place, &script).option("-u").option("app");
        let run = foster.run(&[&image.fixture(), "wait-for-term"]);
        run.expect("ready");
        let pid = run.foster_pid();
        let uids = |pid: i32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            status.lines().find_map(|line| line.strip_prefix("Uid:\t")).unwrap().to_owned()
        };
        assert_eq!(uids(pid), "0\t0\t0\t0");
        assert_eq!(uids(only_child(pid)), "1000\t1000\t1000\t1000");
        let mut look = Command::new(setpriv[0]);
        look.args(&setpriv[1..]).arg("readlink").arg(format!("/proc/{pid}/fd/2"));
        // The command may run, and say so, a moment before foster does again.
        poll("root may look at foster", || plainly(&mut look).status.success());
        run.signal(15);
        let Finished { end, stderr, .. } = run.finish();
        assert_eq!((end, stderr.as_str()), (End::Exited(42), ""));
    });
}

/// The terminal is handed over while the child still has foster's rights; it may be another user's to open.
#[test]
fn a_shell_of_another_user_has_job_control() {
    if !namespaces() || !is_root() {
        return;
    }
    let image = Image::new("terminal");
    let script = "read -r -a stat </proc/$$/stat; echo uid $UID foreground $((${stat[4]} == ${stat[7]})) ${-//[^m]}; \
                  exit 5";
    for binary in binaries() {
        let command = format!("{} -u app bash --norc --noprofile -ic '{script}'", binary.display());
        let run = image.foster(Path::new("script"), Place::Pid1).option("-qec").option(command).run(&["/dev/null"]);
        let Finished { end, lines, stderr } = run.finish();
        assert_eq!((end, stderr.as_str()), (End::Exited(5), ""), "{lines:?}");
        assert!(lines.contains(&"uid 1000 foreground 1 m\r".to_owned()), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("no job control")), "{lines:?}");
    }
}

#[test]
fn the_home_takes_the_place_of_the_one_before() {
    if !namespaces() || !is_root() {
        return;
    }
    let hex = |text: &&str| format!("env {}", text.bytes().map(|b| format!("{b:02x}")).collect::<String>());
    let program = fixture();
    everywhere(|binary, place| {
        for (before, after) in [
            (&["A=1", "HOME=/old", "B=2"][..], &["A=1", "HOME=/root", "B=2"][..]),
            (&["A=1"], &["A=1", "HOME=/root"]),
            (&[], &["HOME=/root"]),
        ] {
            let clean: Vec<_> = ["env", "-i"].iter().chain(before).copied().collect();
            let foster = Foster::new(binary, place).with_machines_users().after(&clean).option("-u0:0");
            let Finished { end, lines, stderr } = foster.run(&[program.as_os_str(), "bytes".as_ref()]).finish();
            assert_eq!((end, stderr.as_str()), (End::Exited(0), ""));
            assert_eq!(lines, after.iter().map(hex).collect::<Vec<_>>());
        }
    });
}

#[test]
fn what_the_user_may_not_run_is_said_with_its_name() {
    if !namespaces() || !is_root() {
        return;
    }
    let image = Image::new("denied");
    image.0.file("roots", b"#!/bin/sh\necho started\n", "700");
    std::fs::create_dir(image.0.path("private")).unwrap();
    std::fs::set_permissions(image.0.path("private"), std::fs::Permissions::from_mode(0o700)).unwrap();
    image.0.file("text", b"echo \"text as $(id -u)\"\n", "755");
    let roots = image.0.path("roots").to_str().unwrap().to_owned();
    let text = image.0.path("text").to_str().unwrap().to_owned();
    everywhere(|binary, place| {
        let run = |command: &str| image.foster(binary, place).option("-u").option("app").run(&[command]).finish();
        let Finished { end, lines, stderr } = run(&roots);
        assert_eq!((end, lines), (End::Exited(126), vec![]));
        // Its owner may execute it, so chmod +x would not help.
        assert!(stderr.ends_with(&format!("cannot run {roots} as user 'app': permission denied\n")), "{stderr}");
        // As execvp has it, a directory that may not be searched tells more than others where nothing is.
        let searched = |path: String| {
            let foster = image.foster(binary, place).env("PATH", path);
            foster.option("-u").option("app").run(&["no-such-command"]).finish()
        };
        let path = "/usr/sbin:/usr/bin:/sbin:/bin";
        assert_eq!(searched(path.to_owned()).end, End::Exited(127));
        let Finished { end, stderr, .. } = searched(format!("{path}:{}", image.0.path("private").display()));
        assert!(end == End::Exited(126) && stderr.contains("its directory may not be searched"), "{end:?} {stderr}");
        assert_eq!(run(&text).lines, ["text as 1000"]);
    });
}

/// The kernel lets the user be changed, and refuses the exec.
#[test]
fn a_user_with_too_many_processes_is_said_as_such() {
    if !namespaces() || !is_root() {
        return;
    }
    let image = Image::new("nproc");
    let script = format!(
        "setpriv --reuid=1000 --clear-groups {} wait-for-term >/dev/null & set -- prlimit --nproc=0 \"$@\"\n\
         until grep -q '^Uid:.1000' /proc/$!/status; do :; done",
        image.fixture()
    );
    for binary in binaries() {
        let foster = image.foster_after(&binary, Place::Pid1, &script).option("-u").option("app");
        let Finished { end, lines, stderr } = foster.run(&["echo", "started"]).finish();
        assert_eq!((end, lines), (End::Exited(125), vec![]), "{stderr}");
        assert!(stderr.contains("as user 'app': a limit on the user's processes is exceeded (ulimit -u)"), "{stderr}");
    }
}

#[test]
fn the_command_runs_in_its_directory_and_is_found_from_there() {
    if !namespaces() {
        return;
    }
    let scratch = Scratch::new("chdir");
    std::fs::create_dir(scratch.path("bin")).unwrap();
    scratch.file("bin/tool", b"#!/bin/sh\necho \"tool in $PWD\"\n", "755");
    scratch.file("bin/text", b"echo \"text in $PWD\"\n", "755");
    scratch.file("bin/plain", b"", "644");
    let root = scratch.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    everywhere(|binary, place| {
        let run = |directory: &str, path: &str, command: &str| {
            let enter = format!("cd {root}; exec \"$@\"");
            let foster = Foster::new(binary, place).after(&["sh", "-c", &enter, "sh"]).env("PATH", path);
            foster.option("-C").option(directory).run(&[command]).finish()
        };
        const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
        for directory in [&format!("{root}/bin"), "bin", "./bin/../bin"] {
            assert_eq!(run(directory, PATH, "./tool").lines, [format!("tool in {root}/bin")], "{directory}");
            assert_eq!(run(directory, PATH, "./text").lines, [format!("text in {root}/bin")], "{directory}");
            assert_eq!(run(directory, &format!("{PATH}:"), "tool").lines, [format!("tool in {root}/bin")]);
        }
        assert_eq!(run(".", PATH, "./bin/tool").lines, [format!("tool in {root}")]);
        for (directory, command, code, message) in [
            ("nowhere", "./tool", 125, "cannot enter directory 'nowhere': no such file or directory"),
            ("bin/tool", "./tool", 125, "cannot enter directory 'bin/tool': not a directory"),
            ("", "./tool", 125, "option -C: '' is not accepted; give a directory"),
            ("bin", "bin/tool", 127, "cannot run 'bin/tool': no such file or directory"),
            ("bin", "./plain", 126, "cannot run ./plain: permission denied: the file has no execute permission"),
            ("bin", "./", 126, "it is a directory"),
        ] {
            let Finished { end, lines, stderr } = run(directory, PATH, command);
            assert_eq!((end, lines), (End::Exited(code), vec![]), "{directory} {command}: {stderr}");
            assert!(stderr.contains(message) && stderr.lines().count() == 1, "{stderr}");
        }
    });
}

/// foster holds no directory, and so it can be unmounted when the command has left it.
#[test]
fn the_directory_is_entered_as_the_user_and_is_the_commands_alone() {
    if !namespaces() || !is_root() {
        return;
    }
    let image = Image::new("private");
    for (name, mode, owner) in [("own", "700", "1000"), ("roots", "700", "0")] {
        let path = image.0.path(name);
        let made = plainly(Command::new("install").args(["-d", "-m", mode, "-o", owner]).arg(path));
        assert!(made.status.success());
    }
    let own = image.0.path("own").to_str().unwrap().to_owned();
    let roots = image.0.path("roots").to_str().unwrap().to_owned();
    everywhere(|binary, place| {
        let foster =
            |directory: &str| image.foster(binary, place).env("FOSTER_USER", "app").env("FOSTER_CHDIR", directory);
        assert!(identity(foster(&own).run(&[&image.fixture(), "identity"])).contains(&format!("cwd Some({own:?})")));
        let Finished { end, stderr, .. } = foster(&roots).run(&[&image.fixture(), "identity"]).finish();
        assert_eq!(end, End::Exited(125));
        let message = format!("cannot enter directory '{roots}' as user 'app': permission denied");
        assert!(stderr.contains(&message) && stderr.lines().count() == 1, "{stderr}");
        let run = foster(&own).run(&[&image.fixture(), "wait-for-term"]);
        run.expect("ready");
        let cwd = format!("/proc/{}/cwd", run.foster_pid());
        poll("foster is in /", || std::fs::read_link(&cwd).unwrap() == Path::new("/"));
        run.signal(15);
        assert_eq!(run.finish().end, End::Exited(42));
    });
}
