//! The command gets exactly what foster got, and foster keeps nothing of it.

use std::os::unix::ffi::OsStringExt;

use crate::harness::{End, Foster, Place, Scratch, binaries, everywhere, fixture, namespaces};

/// A program that sets a scene and then executes what follows: a shell with extra descriptors, a mask, a niceness.
const SCENES: &[(&str, &str)] = &[
    ("plain", "exec \"$@\""),
    ("ignored", "trap '' HUP PIPE USR1 CHLD RTMIN+3; exec \"$@\""),
    ("descriptors", "exec 5</dev/null 7>/dev/null 9</etc; exec \"$@\""),
    ("closed stdin", "exec <&-; exec \"$@\""),
    ("closed stderr", "exec 2>&-; exec \"$@\""),
    ("closed stdout", "exec >&-; exec \"$@\""),
    ("closed all", "exec <&- >&- 2>&-; exec \"$@\""),
    ("closed 0 and 1", "exec <&- >&-; exec \"$@\""),
    ("closed 0 and 2", "exec <&- 2>&-; exec \"$@\""),
    ("closed 1 and 2", "exec >&- 2>&-; exec \"$@\""),
    ("nice, umask and directory", "cd /usr; umask 027; exec nice -n 5 \"$@\""),
];

/// What the fixture says of itself: run directly, and under foster, the rest being equal.
#[test]
fn the_command_sees_what_it_would_see_without_foster() {
    if !namespaces() {
        return;
    }
    let scratch = Scratch::new("state");
    everywhere(|binary, place| {
        for (scene, script) in SCENES {
            let state = |program: &std::path::Path, args: &[&str]| {
                let out = scratch.path("state");
                let _ = std::fs::remove_file(&out);
                let foster =
                    Foster::new(program, place).after(&["bash", "-c", script, "bash"]).env("FIXTURE_OUT", &out);
                let run = foster.run(args);
                assert_eq!(run.finish().end, End::Exited(0), "{scene}");
                std::fs::read_to_string(&out).expect("the fixture wrote it")
            };
            let fixture = fixture();
            let direct = state(&fixture, &["state"]);
            let under_foster = state(binary, &[fixture.to_str().unwrap(), "state"]);
            assert!(under_foster.contains("leads its group: true; in foster's session: true"), "{under_foster}");
            // Run directly it is PID 1 of the namespace, whose parent and group are not to be seen.
            let comparable = |state: &str| state.split("leads its group").next().unwrap().to_owned();
            assert_eq!(comparable(&under_foster), comparable(&direct), "{scene}");
        }
    });
}

/// Every signal may be blocked or pending in what foster is started from; the mask is handed on bit by bit.
#[test]
fn the_signal_mask_is_handed_on() {
    everywhere(|binary, place| {
        for mask in ["0", "ffffffffffffffff", "380000000", "4001"] {
            let fixture = fixture();
            let run =
                Foster::new(binary, place).after(&[fixture.to_str().unwrap(), "blocking", mask]).fixture(&["state"]);
            let state = run.line();
            // KILL and STOP cannot be blocked.
            let expected = u64::from_str_radix(mask, 16).unwrap() & !((1 << 8) | (1 << 18));
            assert!(state.contains(&format!("SigBlk:\t{expected:016x};")), "{mask}: {state}");
            assert_eq!(run.finish().end, End::Exited(0));
        }
    });
}

/// But for that of the termination log, which gets the lowest number that is free.
#[test]
fn foster_keeps_no_directory_and_no_descriptor() {
    everywhere(|binary, place| {
        let scratch = Scratch::new("pinned");
        let log = scratch.path("log").display().to_string();
        for (held, options, kept) in [
            ("5</etc/passwd 8<.", &[][..], None),
            ("4</etc/passwd 8<.", &["--termination-log", &log], Some("3")),
            ("3</etc/passwd 5<.", &["--termination-log", &log], Some("4")),
        ] {
            // Whatever the tests themselves were started with: flock(1) and make hand on descriptors of theirs.
            let closed: String = (3..20).map(|fd| format!("{fd}<&- ")).collect();
            let held = format!("cd {}; exec {closed}; exec {held}; exec \"$@\"", scratch.path("").display());
            let foster = Foster::new(binary, place).after(&["bash", "-c", &held, "bash"]);
            let run = foster.options(options).fixture(&["wait-for-term"]);
            run.expect("ready");
            let proc = format!("/proc/{}", run.foster_pid());
            crate::harness::poll("foster is in /", || {
                std::fs::read_link(format!("{proc}/cwd")).unwrap() == "/".as_ref() as &std::path::Path
            });
            let descriptors = || {
                let mut open: Vec<String> = std::fs::read_dir(format!("{proc}/fd"))
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .collect();
                open.sort();
                open
            };
            // As PID 1 programs write to /proc/1/fd/1, so these stay; elsewhere only stderr, for the log.
            let standard: &[&str] = if place == Place::Pid1 { &["0", "1", "2"] } else { &["2"] };
            let expected: Vec<&str> = standard.iter().copied().chain(kept).collect();
            crate::harness::poll("foster's descriptors", || descriptors() == expected);
            run.signal(15);
            assert_eq!(run.finish().end, End::Exited(42));
        }
    });
}

/// foster holds no end of the pipe that the command writes to: its reader sees the end when the command closes it.
#[test]
fn a_reader_of_the_command_s_output_is_not_kept_waiting() {
    if !namespaces() {
        return;
    }
    for binary in binaries() {
        let script = "\"$0\" \"$1\" close-stdout | { cat; echo eof; }";
        let run = Foster::new("sh".as_ref(), Place::Pid1)
            .option("-c")
            .option(script)
            .run(&[binary.as_os_str(), fixture().as_os_str()]);
        run.expect("eof");
    }
}

#[test]
fn arguments_and_environment_pass_byte_for_byte() {
    if !namespaces() {
        return;
    }
    let bytes = |bytes: &[u8]| std::ffi::OsString::from_vec(bytes.to_vec());
    everywhere(|binary, place| {
        let odd: &[&[u8]] = &[b"\xff\xfe", b"", b"--", b"-g", b"-r", b"\x01\n\t", b"caf\xc3\xa9", b"--help"];
        let program = fixture();
        let mut words = vec![program.into_os_string(), "bytes".into()];
        words.extend(odd.iter().map(|b| bytes(b)));
        for dashes in [false, true] {
            let setup =
                "import os, sys\nos.execve(sys.argv[1], sys.argv[1:], {b'Z': b'\\xff\\x01', b'A': b'1', b'PATH': b''})";
            let run = Foster::new(binary, place)
                .after(&["python3", "-c", setup])
                .option(if dashes { "--" } else { "-c" })
                .run(&words);
            let hex = |b: &[u8]| b.iter().map(|b| format!("{b:02x}")).collect::<String>();
            for word in odd {
                run.expect(&format!("arg {}", hex(word)));
            }
            for entry in [&b"Z=\xff\x01"[..], b"A=1", b"PATH="] {
                run.expect(&format!("env {}", hex(entry)));
            }
            let finished = run.finish();
            assert_eq!((finished.end, finished.lines), (End::Exited(0), vec![]));
        }
    });
}

/// Order, duplicates and entries without `=` survive; only the fixture's own execve can make such an environment.
#[test]
fn an_odd_environment_survives() {
    everywhere(|binary, place| {
        let fixture = fixture();
        let run = Foster::new(binary, place).after(&[fixture.to_str().unwrap(), "odd-environment"]).fixture(&["bytes"]);
        for entry in [&b"DUP=2"[..], b"NOEQUALS", b"DUP=1", b"=empty", b"\xff", b"DUP=2"] {
            let hex = entry.iter().map(|b| format!("{b:02x}")).collect::<String>();
            run.expect(&format!("env {hex}"));
        }
        assert_eq!(run.finish().end, End::Exited(0));
    });
}

#[test]
fn listen_pid_is_rewritten_only_where_it_names_foster() {
    everywhere(|binary, place| {
        let set = |pid: &str| format!("export LISTEN_PIDFDID=7 LISTEN_FDS=1 LISTEN_PID={pid}; exec \"$@\"");
        for (pid, line) in [("$$", "own true inode false"), ("4711", "own false inode true")] {
            let run = Foster::new(binary, place).after(&["sh", "-c", &set(pid), "sh"]).fixture(&["listen-pid"]);
            run.expect(line);
            assert_eq!(run.finish().end, End::Exited(0));
        }
    });
}

/// Two fosters, one in the other, as with `docker run --init` and foster in the image: silent, and both work.
#[test]
fn nested_fosters_work_and_are_silent() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).option("--").run(&[
            binary.as_os_str(),
            "--".as_ref(),
            fixture().as_os_str(),
            "wait-for-term".as_ref(),
        ]);
        run.expect("ready");
        run.signal(15);
        let finished = run.finish();
        assert_eq!((finished.end, finished.stderr.as_str()), (End::Exited(42), ""));
    });
}
