//! `--pause`: no command, only reaping, as for the pause process of a pod.

use std::path::Path;

use crate::harness::{End, Finished, Foster, Run, children, everywhere, fixture, poll, send, signals_taken};

/// Once this is said, foster is there, and what it inherited is closed.
const PAUSED: &str = "info: no command, as --pause says: reaping until SIGTERM or SIGINT";

fn started(foster: Foster) -> Run {
    let nothing: &[&str] = &[];
    let run = foster.option("-vv").run(nothing);
    poll("foster pauses", || run.stderr().contains(PAUSED));
    run
}

#[test]
fn a_pause_ends_with_0_on_sigterm_and_sigint_and_nothing_else() {
    everywhere(|binary, place| {
        for (option, signal, name) in [("-P", 15, "SIGTERM"), ("--pause", 2, "SIGINT")] {
            let run = started(Foster::new(binary, place).option(option));
            for other in [1, 3, 10, 12, 18, 20, 34, 64] {
                run.signal(other);
            }
            signals_taken(run.foster_pid());
            run.signal(signal);
            let Finished { end, lines, stderr } = run.finish();
            assert_eq!((end, lines), (End::Exited(0), vec![]), "{stderr}");
            let ended = format!("info: finished: {name} from {} ended the pause; orphans reaped: 0", place.outside());
            assert!(stderr.trim_end().ends_with(&ended), "{stderr}");
        }
    });
}

/// Those that died before foster was there, and those that die later.
#[test]
fn a_pause_reaps() {
    everywhere(|binary, place| {
        let fixture = fixture();
        let scene = ["sh", "-c", "\"$0\" exit 3 & \"$0\" close-stdout & exec \"$@\"", fixture.to_str().unwrap()];
        let run = started(Foster::new(binary, place).after(&scene).option("-P"));
        let foster = run.foster_pid();
        poll("one is reaped, one lives", || children(foster).len() == 1 && run.stderr().contains("status 3"));
        send(children(foster)[0], 9);
        poll("the other is reaped", || children(foster).is_empty());
        run.signal(15);
        let Finished { end, stderr, .. } = run.finish();
        assert_eq!(end, End::Exited(0));
        assert!(stderr.contains("): killed by SIGKILL") && stderr.contains("orphans reaped: 2"), "{stderr}");
    });
}

#[test]
fn a_pause_holds_no_directory_and_no_socket() {
    everywhere(|binary, place| {
        let held = "cd /usr; export LISTEN_FDS=1 LISTEN_PID=$$ FOSTER_PAUSE=1; exec 3</etc/passwd; exec \"$@\"";
        let run = started(Foster::new(binary, place).after(&["bash", "-c", held, "bash"]));
        let proc = format!("/proc/{}", run.foster_pid());
        // foster releases both after it has said that it pauses.
        poll("the directory is left", || std::fs::read_link(format!("{proc}/cwd")).unwrap() == Path::new("/"));
        poll("the socket is closed", || !Path::new(&format!("{proc}/fd/3")).exists());
        let environment = String::from_utf8(std::fs::read(format!("{proc}/environ")).unwrap()).unwrap();
        assert!(environment.contains("LISTEN_FDS=1\0") && environment.contains("LISTEN_PID="), "{environment:?}");
        run.signal(15);
        assert_eq!(run.finish().end, End::Exited(0));
    });
}
