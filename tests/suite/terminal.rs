//! Under a real terminal: foster in front of a command behaves as if it were not there.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use nix::fcntl::OFlag;
use nix::pty::{Winsize, grantpt, posix_openpt, ptsname_r, unlockpt};

use crate::harness::{
    Scratch, binaries, children, fixture, name, namespaces, only_child, plainly, poll, send, skipped, state,
};

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;
const SIGTSTP: i32 = 20;

pub const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_S: &str = "\x13";
pub const CTRL_Z: &str = "\x1a";
const CTRL_BACKSLASH: &str = "\x1c";
pub const PROMPT: &str = "READY> ";

const UNSHARE: &[&str] =
    &["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child", "--"];

/// A pseudo-terminal with a session of its own on it, in namespaces of its own.
pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    /// What was on the screen up to here has been dealt with.
    seen: usize,
}

impl Terminal {
    pub fn run(program: &[&str]) -> Terminal {
        // As a login session has it, whatever the tests were started with: under nohup or in the background some
        // signals are ignored.
        Terminal::start(&[&["setsid", "--ctty", "env", "--default-signal"], UNSHARE, program].concat())
    }

    /// The program is PID 1 and leads the session, as with `docker run -it`.
    pub fn run_as_session_leader(program: &[&str]) -> Terminal {
        Terminal::start(&[&["env", "--default-signal"], UNSHARE, &["setsid", "--ctty"], program].concat())
    }

    /// The program is not PID 1 and leads the session, as in a pane of tmux, or with `ssh -t`.
    pub fn run_in_a_pane(program: &[&str]) -> Terminal {
        let outer = [fixture().to_str().unwrap().to_owned(), "outer".to_owned()];
        let outer: Vec<&str> = outer.iter().map(String::as_str).collect();
        Terminal::start(&[&["env", "--default-signal"], UNSHARE, &outer, &["setsid", "--ctty"], program].concat())
    }

    fn start(words: &[&str]) -> Terminal {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        // Not openpty(3): its descriptors would be inherited by whatever another test starts at the same time.
        let master = posix_openpt(flags).expect("a pseudo-terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let name = ptsname_r(&master).expect("a name");
        let end = || {
            let no_ctty = OFlag::O_NOCTTY.bits();
            std::fs::OpenOptions::new().read(true).write(true).custom_flags(no_ctty).open(&name).expect("the other end")
        };
        let keyboard = File::from(OwnedFd::from(master));
        resize(&keyboard, 24, 500);
        let child = Command::new(words[0])
            .args(&words[1..])
            .envs([("PS1", PROMPT), ("TERM", "dumb"), ("LANG", "C"), ("HISTFILE", "")])
            .env_remove("PROMPT_COMMAND")
            .env_remove("TEST_BINARIES")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("setsid is there");
        let screen = Arc::new(Mutex::new(Vec::new()));
        let mut output = keyboard.try_clone().expect("a descriptor");
        let shown = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // EIO: the last descriptor of the other end is closed.
            while let Ok(len @ 1..) = output.read(&mut buffer) {
                shown.lock().expect("not poisoned").extend_from_slice(&buffer[..len]);
            }
        });
        Terminal { child, keyboard, screen, seen: 0 }
    }

    /// An interactive bash that is not PID 1, as in a login session.
    pub fn shell() -> Terminal {
        Terminal::other_shell("bash --norc --noprofile -i")
    }

    pub fn other_shell(shell: &str) -> Terminal {
        let words: Vec<&str> = shell.split(' ').collect();
        let mut terminal = Terminal::run(&[&[fixture().to_str().unwrap(), "outer"], &words[..]].concat());
        terminal.expect(PROMPT);
        terminal
    }

    /// What runs under the shell: names and states.
    fn job(&self) -> Vec<(String, char)> {
        let mut job = Vec::new();
        // The first one: orphans of the shell go to its parent.
        let mut parents: Vec<i32> = children(self.program_pid()).into_iter().take(1).collect();
        while let Some(parent) = parents.pop() {
            let below = children(parent);
            job.extend(below.iter().map(|pid| (name(*pid), state(*pid))));
            parents.extend(below);
        }
        job
    }

    pub fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("a terminal");
    }

    /// Types a command line. What is typed is echoed, so output that is looked for must not stand in it.
    pub fn line(&mut self, line: &str) {
        self.keys(&format!("{line}\n"));
        self.expect(line);
    }

    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("not poisoned")[self.seen..]).into_owned()
    }

    /// Waits until this text is on the screen, behind everything that was waited for before.
    pub fn expect(&mut self, text: &str) {
        let screen = Arc::clone(&self.screen);
        let seen = self.seen;
        let find = || {
            let all = screen.lock().expect("not poisoned");
            all[seen..].windows(text.len()).position(|window| window == text.as_bytes())
        };
        let mut found = None;
        poll(&format!("{text:?} on the screen; there is {:?}", self.screen()), || {
            found = find();
            found.is_some()
        });
        self.seen += found.unwrap() + text.len();
    }

    /// Asks a shell for the exit status.
    pub fn status(&mut self) -> String {
        self.expect(PROMPT);
        self.line("echo status=$?.");
        self.expect("status=");
        poll("the status is on the screen", || self.screen().contains('.'));
        self.screen().split('.').next().unwrap_or_default().to_owned()
    }

    /// Waits for the prompt, and then asks for the exit status.
    pub fn expect_status(&mut self, status: i32) {
        self.expect(PROMPT);
        self.line("echo status=$?.");
        self.expect(&format!("status={status}."));
        self.expect(PROMPT);
    }

    /// The program's process ID; of a shell in it, and of what runs there, it is the parent.
    pub fn program_pid(&self) -> i32 {
        only_child(self.child.id() as i32)
    }

    /// How the program ended.
    pub fn finish(&mut self) -> Option<i32> {
        poll(&format!("it ends; screen: {:?}", self.screen()), || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap().code()
    }

    /// For a test that has failed: who is in which state, in which group, with which signals pending.
    fn say_who_runs(&self) {
        use std::os::fd::AsFd;
        let foreground = nix::unistd::tcgetpgrp(self.keyboard.as_fd());
        eprintln!(
            "foreground group {foreground:?}; screen: {:?}",
            String::from_utf8_lossy(&self.screen.lock().unwrap())
        );
        let mut pids = vec![self.child.id() as i32];
        while let Some(pid) = pids.pop() {
            pids.extend(children(pid));
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let pending = status.lines().find(|line| line.starts_with("ShdPnd"));
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let stat = stat.split(' ').take(8).collect::<Vec<_>>().join(" ");
            eprintln!("{stat} {pending:?} {:?}", String::from_utf8_lossy(&command));
        }
    }

    /// Types words for cat, which has the terminal, and then its end.
    fn cat_answers_and_ends(&mut self) {
        self.line("words");
        self.expect("words");
        self.keys(CTRL_D);
        self.expect_status(0);
    }

    /// Waits until the foreground group's leader is a process of this name.
    pub fn expect_foreground(&self, name: &str) {
        use std::os::fd::AsFd;
        poll(&format!("{name} is in the foreground; screen: {:?}", self.screen()), || {
            nix::unistd::tcgetpgrp(self.keyboard.as_fd()).is_ok_and(|group| {
                std::fs::read_to_string(format!("/proc/{group}/comm")).is_ok_and(|comm| comm.trim_end() == name)
            })
        });
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.say_who_runs();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn name_of(program: &str) -> &str {
    Path::new(program).file_name().unwrap().to_str().unwrap()
}

/// Runs a test for each binary, which it calls by a path without blanks.
fn each(test: impl Fn(&str)) {
    if namespaces() {
        for binary in binaries() {
            test(binary.to_str().unwrap());
        }
    }
}

#[test]
fn ctrl_c_and_ctrl_backslash_end_the_command_as_without_foster() {
    each(|foster| {
        let mut shell = Terminal::shell();
        for (key, status) in [(CTRL_C, 130), (CTRL_BACKSLASH, 131)] {
            shell.line(&format!("{foster} sleep 1000"));
            shell.expect_foreground("sleep");
            shell.keys(key);
            shell.expect_status(status);
        }
        assert!(!shell.screen().contains("error"), "{}", shell.screen());
    });
}

#[test]
fn ctrl_z_and_fg_stop_and_continue_it() {
    each(|foster| {
        let mut shell = Terminal::shell();
        shell.line(&format!("{foster} cat"));
        for word in ["one", "two"] {
            shell.expect_foreground("cat");
            shell.line(word);
            shell.expect(word);
            shell.keys(CTRL_Z);
            shell.expect("Stopped");
            shell.expect(PROMPT);
            shell.line("fg");
        }
        shell.expect_foreground("cat");
        shell.keys(CTRL_D);
        shell.expect_status(0);
    });
}

/// The terminal would have stopped all of them: the script that waits for foster, and who shares a pipeline with it.
#[test]
fn ctrl_z_stops_the_whole_job_and_fg_continues_it() {
    each(|foster| {
        let (bash, both) = (&["bash --norc --noprofile -i"][..], &["bash --norc --noprofile -i", "dash -i"][..]);
        for (shells, line, others) in [
            (both, format!("{foster} cat"), &[][..]),
            (both, format!("sh -c '{foster} cat; echo af\"\"ter'"), &["sh"]),
            (both, format!("{foster} cat | sh -c 'cat; echo af\"\"ter'"), &["cat", "sh"]),
            (both, format!("yes | {foster} sh -c 'exec 3<&0; exec cat </dev/tty'"), &["yes"]),
            (bash, format!("sh -c '{foster} {foster} cat; echo af\"\"ter'"), &[name_of(foster), "sh"]),
        ] {
            let mut job = [others, &["cat", name_of(foster)]].concat();
            job.sort_unstable();
            for shell in shells {
                let mut shell = Terminal::other_shell(shell);
                shell.line(&line);
                for _ in 0..2 {
                    // Each gives the terminal to the job before it is what it is to be, also when foster has given it to
                    // cat, which then gets it back with its next read; and no stop signal reaches it before.
                    poll("all of it runs", || {
                        let mut names: Vec<_> = shell.job().into_iter().map(|(name, _)| name).collect();
                        names.sort_unstable();
                        names == job
                    });
                    shell.line("words");
                    shell.expect("words");
                    shell.expect_foreground("cat");
                    shell.keys(CTRL_Z);
                    shell.expect("Stopped");
                    shell.expect(PROMPT);
                    poll(&format!("all of {line} stands still"), || shell.job().iter().all(|(_, state)| *state == 'T'));
                    shell.line("fg");
                }
                shell.expect_foreground("cat");
                shell.keys(CTRL_D);
                if line.contains("echo") {
                    shell.expect("after");
                }
                shell.expect_status(0);
            }
        }
    });
}

#[test]
fn after_ctrl_z_in_a_script_bg_and_kill_find_all_of_the_job() {
    each(|foster| {
        let mut shell = Terminal::shell();
        shell.line(&format!("sh -c '{foster} sleep 1000; echo after'"));
        shell.expect_foreground("sleep");
        shell.keys(CTRL_Z);
        shell.expect("Stopped");
        shell.expect(PROMPT);
        shell.line("bg");
        shell.expect(PROMPT);
        shell.expect_foreground("bash");
        poll("it goes on", || shell.job().iter().all(|(_, state)| *state == 'S'));
        // To a job that runs already the shell sends no SIGCONT, so the terminal stays with the job's own group.
        shell.line("fg");
        shell.expect_foreground("sh");
        shell.keys(CTRL_Z);
        shell.expect("Stopped");
        shell.expect(PROMPT);
        let own = only_child(only_child(only_child(shell.program_pid())));
        let sleep = only_child(own);
        shell.line("kill %1");
        // bash does not always wait at once for what ends while it takes it for stopped.
        let is_gone = |state: char| "-Z".contains(state);
        poll("nothing is left", || {
            shell.job().iter().all(|(_, state)| is_gone(*state)) && is_gone(state(own)) && is_gone(state(sleep))
        });
    });
}

/// No SIGCONT says that it has the terminal again, but it wants it.
#[test]
fn after_bg_and_fg_the_command_gets_the_terminal_when_it_reads() {
    each(|foster| {
        let mut shell = Terminal::shell();
        let fifo = Scratch::new("after-bg");
        let path = fifo.path("fifo");
        shell.line(&format!("mkfifo {path}; {foster} sh -c 'read _ <{path}; exec cat'", path = path.display()));
        shell.expect_foreground("sh");
        shell.keys(CTRL_Z);
        shell.expect("Stopped");
        shell.expect(PROMPT);
        shell.line("bg");
        shell.expect(PROMPT);
        // A foster that has not yet continued the command sees itself in the
        // foreground when it does so, and gives the terminal away at once.
        poll("the job runs in the background", || {
            let job = shell.job();
            job.len() == 2 && job.iter().all(|(_, state)| *state != 'T')
        });
        shell.line("fg");
        shell.expect_foreground(name_of(foster));
        std::fs::write(path, "now\n").expect("the command reads it");
        shell.expect_foreground("cat");
        shell.cat_answers_and_ends();
    });
}

/// A reader in the background is stopped by the kernel with all its job.
#[test]
fn a_reader_in_a_background_pipeline_stops_all_of_it_until_fg() {
    each(|foster| {
        let mut shell = Terminal::shell();
        shell.line(&format!("{foster} cat | cat &"));
        shell.expect(PROMPT);
        poll("all of it is stopped", || {
            let job = shell.job();
            job.len() == 3 && job.iter().all(|(_, state)| *state == 'T')
        });
        shell.line("fg");
        shell.expect_foreground("cat");
        shell.cat_answers_and_ends();
    });
}

/// SIGTSTP for one process is not for those beside it.
#[test]
fn somebodys_sigtstp_for_foster_stops_foster_and_its_command_alone() {
    each(|foster| {
        let mut shell = Terminal::shell();
        shell.line(&format!("sh -c '{foster} cat; :'"));
        shell.expect_foreground("cat");
        let script = only_child(only_child(shell.program_pid()));
        let own = only_child(script);
        send(own, SIGTSTP);
        poll("it stands still", || state(own) == 'T' && state(only_child(own)) == 'T');
        assert_ne!(state(script), 'T');
        send(own, SIGCONT);
        shell.expect_foreground("cat");
        shell.keys(CTRL_Z);
        shell.expect("Stopped");
        assert_eq!(state(script), 'T');
    });
}

#[test]
fn ctrl_z_and_bg_leave_it_running_without_the_terminal() {
    each(|foster| {
        let mut shell = Terminal::shell();
        shell.line(&format!("{foster} sleep 1000"));
        shell.expect_foreground("sleep");
        shell.keys(CTRL_Z);
        shell.expect("Stopped");
        shell.expect(PROMPT);
        shell.line("bg");
        shell.expect(PROMPT);
        shell.expect_foreground("bash");
        shell.line("jobs; ps -o stat= -C sleep");
        shell.expect("Running");
        // Neither T, stopped, nor +, in the foreground.
        shell.expect("\nS");
        shell.expect(PROMPT);
        shell.line("kill %1; wait %1");
        shell.expect_status(143);
    });
}

#[test]
fn a_start_in_the_background_does_not_take_the_terminal() {
    each(|foster| {
        let mut shell = Terminal::shell();
        shell.line(&format!("{foster} cat &"));
        shell.expect(PROMPT);
        // It reads from a terminal that it does not have, is stopped for that, and foster along with it.
        poll("it is stopped", || {
            shell.line("jobs");
            shell.expect(PROMPT);
            let screen = String::from_utf8_lossy(&shell.screen.lock().unwrap()).into_owned();
            screen.contains("Stopped")
        });
        shell.expect_foreground("bash");
        shell.line("fg");
        shell.expect_foreground("cat");
        shell.cat_answers_and_ends();
    });
}

/// A shell without job control, as a script has it, starts an init in its own process group. What the init runs wants to read
/// from the terminal; so does the script, and then it runs a program in the foreground.
fn script_with_a_background_job(files: &Scratch, init: &str) -> String {
    let script = format!("{init} cat </dev/tty &\nread -r line\necho \"the script has read $line\"\nsleep 1000\n");
    files.file("script", script.as_bytes(), "644").to_str().unwrap().to_owned()
}

/// foster hands on no terminal there, neither at the start nor when its command is stopped for want of it.
#[test]
fn a_script_that_starts_foster_in_the_background_keeps_the_terminal() {
    each(|foster| {
        for shell in ["sh", "bash"] {
            let files = Scratch::new("background-of-a-script");
            let script = script_with_a_background_job(&files, foster);
            let mut terminal = Terminal::shell();
            terminal.line(&format!("{shell} {script}"));
            poll("cat is stopped", || terminal.job().contains(&("cat".to_owned(), 'T')));
            terminal.expect_foreground(shell);
            terminal.line("a line");
            terminal.expect("the script has read a line");
            poll("sleep runs", || terminal.job().iter().any(|(name, _)| name == "sleep"));
            terminal.keys(CTRL_C);
            terminal.expect_status(130);
        }
    });
}

/// As `docker run -it` with the script as the entrypoint.
#[test]
fn an_entrypoint_script_that_starts_foster_in_the_background_keeps_the_terminal() {
    each(|foster| {
        let files = Scratch::new("background-of-an-entrypoint");
        let script = script_with_a_background_job(&files, foster);
        let mut terminal = Terminal::run_as_session_leader(&["sh", &script]);
        poll("cat is stopped", || {
            let mut below = vec![terminal.child.id() as i32];
            while let Some(pid) = below.pop() {
                below.extend(children(pid));
                if name(pid) == "cat" && state(pid) == 'T' {
                    return true;
                }
            }
            false
        });
        terminal.line("a line");
        terminal.expect("the script has read a line");
    });
}

/// The terminal sends it to the command alone, which catches it. Its exit code is all that foster has of it.
#[test]
fn a_ctrl_c_that_the_command_has_caught_is_named_as_what_stopped_it() {
    each(|foster| {
        let script = "trap 'exit 130' INT; echo rea''dy; while :; do sleep 0.1; done";
        let mut terminal = Terminal::run(&[foster, "-v", "sh", "-c", script]);
        terminal.expect("ready");
        terminal.keys(CTRL_C);
        terminal.expect("info: stopped by Ctrl-C, as its status says: command sh exited with status 130; ran ");
    });
}

/// So the tests above can fail: what catatonit runs has the terminal, and Ctrl-C is for that alone.
#[test]
fn catatonit_in_the_background_of_a_script_takes_its_terminal() {
    let (true, Some(catatonit)) = (namespaces(), crate::programs::program("usr/bin/catatonit")) else { return };
    let files = Scratch::new("background-of-a-script-of-a-peer");
    let script = script_with_a_background_job(&files, catatonit.to_str().unwrap());
    let mut terminal = Terminal::shell();
    terminal.line(&format!("sh {script}"));
    terminal.expect_foreground("cat");
}

#[test]
fn ctrl_c_ends_a_loop_in_the_shell() {
    each(|foster| {
        let mut shell = Terminal::shell();
        shell.line(&format!("while :; do {foster} sleep 1000; done"));
        shell.expect_foreground("sleep");
        shell.keys(CTRL_C);
        shell.expect_status(130);
    });
}

/// The terminal tells the command's group alone, and a shell ends its script only if it has got the signal too.
#[test]
fn a_ctrl_c_that_ends_the_command_ends_the_script() {
    each(|foster| {
        for (shell, command) in [
            ("bash", format!("{foster} sleep 1000")),
            ("sh", format!("{foster} sleep 1000")),
            ("bash", format!("{foster} {foster} sleep 1000")),
            // One that wrote could die of SIGPIPE before, and be the last that bash hears of.
            ("bash", format!("sleep 1000 | {foster} sleep 1000")),
        ] {
            for (key, status) in [(CTRL_C, 130), (CTRL_BACKSLASH, 131)] {
                let mut terminal = Terminal::shell();
                terminal.line(&format!("{shell} -c '{command}; echo af\"\"ter'"));
                terminal.expect_foreground("sleep");
                // The pipeline's other part too: what bash has forked and not yet executed ignores a SIGQUIT.
                let sleeps = command.matches("sleep").count();
                poll("all parts run", || terminal.job().iter().filter(|(name, _)| name == "sleep").count() == sleeps);
                terminal.keys(key);
                poll("the prompt is back", || terminal.screen().contains(PROMPT));
                // bash itself goes on after a SIGQUIT.
                let goes_on = shell == "bash" && key == CTRL_BACKSLASH;
                assert_eq!(terminal.screen().contains("after"), goes_on, "{command}: {}", terminal.screen());
                terminal.expect_status(if goes_on { 0 } else { status });
            }
        }
    });
}

/// make removes it, whether it hears of the signal first or of its child's end.
#[test]
fn a_ctrl_c_in_a_recipe_leaves_no_half_made_file() {
    if plainly(Command::new("make").arg("--version")).status.success() {
        each(|foster| {
            let scratch = Scratch::new("make");
            let recipe = format!("out:\n\t@{foster} sh -c 'echo half >out; exec sleep 1000'\n");
            let makefile = scratch.file("Makefile", recipe.as_bytes(), "644");
            for _ in 0..5 {
                let mut shell = Terminal::shell();
                shell.line(&format!("make -C {}", makefile.parent().unwrap().display()));
                shell.expect_foreground("sleep");
                shell.keys(CTRL_C);
                // make says 2 when its child was faster than its handler, with foster or without.
                let status = shell.status();
                assert!(["130", "2"].contains(&status.as_str()), "{status}");
                assert!(!scratch.path("out").exists());
            }
        });
    } else {
        skipped("no make, so no recipe is run");
    }
}

/// As a shell does: one that catches the signal has dealt with it, and one that somebody sends to foster is not for others.
#[test]
fn a_script_goes_on_after_a_ctrl_c_that_its_command_dealt_with() {
    each(|foster| {
        let scratch = Scratch::new("caught");
        let text = "trap 'exit 130' INT; echo rea\"\"dy; while :; do sleep 0.05; done\n";
        let catching = scratch.file("catching", text.as_bytes(), "755");
        let mut shell = Terminal::shell();
        shell.line(&format!("bash -c '{foster} bash {}; echo af\"\"ter'", catching.display()));
        shell.expect("ready");
        shell.keys(CTRL_C);
        shell.expect("after");
        shell.expect_status(0);
        shell.line(&format!("bash -c '{foster} sleep 1000; echo af\"\"ter'"));
        shell.expect_foreground("sleep");
        send(only_child(only_child(only_child(shell.program_pid()))), SIGINT);
        shell.expect("after");
        shell.expect_status(0);
        shell.line(&format!("bash -c '{foster} -e 130 sleep 1000; echo af\"\"ter'"));
        shell.expect_foreground("sleep");
        shell.keys(CTRL_C);
        shell.expect("after");
        shell.expect_status(0);
    });
}

#[test]
fn two_fosters_one_in_the_other_behave_as_none() {
    each(|foster| {
        let mut shell = Terminal::shell();
        shell.line(&format!("{foster} {foster} cat"));
        shell.expect_foreground("cat");
        shell.keys(CTRL_Z);
        shell.expect("Stopped");
        shell.expect(PROMPT);
        shell.line("fg");
        shell.expect_foreground("cat");
        shell.line("words");
        shell.expect("words");
        shell.keys(CTRL_C);
        shell.expect_status(130);
    });
}

/// The next command of a script reads from the terminal too: it must have come back.
#[test]
fn in_a_script_the_terminal_comes_back_for_the_next_command() {
    each(|foster| {
        let scratch = Scratch::new("script");
        let text = format!(
            "for i in 1 2; do {foster} sh -c 'read word; echo \"<$word>\"'; done; read word; echo \"[$word]\"\n"
        );
        let script = scratch.file("script", text.as_bytes(), "755");
        let mut shell = Terminal::shell();
        shell.line(&format!("sh {}", script.display()));
        // Before, the shell's line editor has the echo off, and the first "one" on the screen would be the answer's.
        shell.expect_foreground("sh");
        for (word, said) in [("one", "<one>"), ("two", "<two>"), ("three", "[three]")] {
            shell.line(word);
            shell.expect(said);
        }
        shell.expect_status(0);
    });
}

#[test]
fn after_a_failed_exec_the_terminal_is_the_shells() {
    each(|foster| {
        let mut shell = Terminal::shell();
        shell.line(&format!("{foster} no-such-command"));
        shell.expect("cannot run 'no-such-command'");
        shell.expect_status(127);
        shell.line(&format!("sh -c '{foster} no-such-command; read word; echo \"<$word>\"'"));
        shell.expect("cannot run 'no-such-command'");
        shell.line("words");
        shell.expect("<words>");
        shell.expect_status(0);
    });
}

#[test]
fn the_command_hears_of_a_new_window_size() {
    each(|foster| {
        let mut shell = Terminal::shell();
        shell.line(&format!(
            "{foster} bash -c 'trap \"stty size; exit 5\" WINCH; echo rea\"\"dy; while :; do sleep 0.05; done'"
        ));
        shell.expect("ready");
        resize(&shell.keyboard, 50, 132);
        shell.expect("50 132");
        shell.expect_status(5);
    });
}

#[allow(unsafe_code)]
fn resize(terminal: &File, rows: u16, columns: u16) {
    use std::os::fd::AsRawFd;
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the structure lives through the call, which only reads it.
    assert_eq!(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &size) }, 0);
}

#[test]
fn a_pager_works_under_it() {
    each(|foster| {
        let scratch = Scratch::new("pager");
        let lines: String = (1..=200).map(|i| format!("line {i}\n")).collect();
        let file = scratch.file("text", lines.as_bytes(), "644");
        let mut shell = Terminal::shell();
        shell.line(&format!("TERM=xterm {foster} less {}", file.display()));
        shell.expect("line 20");
        shell.keys("G");
        shell.expect("line 200");
        shell.keys(CTRL_Z);
        shell.expect("Stopped");
        shell.expect(PROMPT);
        shell.line("fg");
        shell.expect_foreground("less");
        shell.keys("q");
        shell.expect_status(0);
    });
}

/// As `docker run -it IMAGE bash`: foster is PID 1 and leads the session.
#[test]
fn a_shell_under_pid_1_has_job_control() {
    each(|foster| {
        let mut shell = Terminal::run(&[foster, "bash", "--norc", "--noprofile", "-i"]);
        shell.expect(PROMPT);
        let start = String::from_utf8_lossy(&shell.screen.lock().unwrap()).into_owned();
        assert_eq!(start, PROMPT, "no complaint about job control or process groups");
        shell.line("sleep 1000");
        shell.expect_foreground("sleep");
        shell.keys(CTRL_Z);
        shell.expect("Stopped");
        shell.expect(PROMPT);
        shell.line("fg");
        shell.expect_foreground("sleep");
        shell.keys(CTRL_C);
        shell.expect_status(130);
        shell.line("exit 6");
        poll("foster ends", || shell.child.try_wait().unwrap().is_some());
        assert_eq!(shell.child.wait().unwrap().code(), Some(6));
    });
}

/// Nobody could ever `fg` it.
#[test]
fn as_pid_1_a_ctrl_z_is_undone() {
    each(|foster| {
        let mut terminal = Terminal::run(&[foster, "cat"]);
        terminal.expect_foreground("cat");
        for _ in 0..2 {
            terminal.keys(CTRL_Z);
            terminal
                .expect("warning: command cat was suspended by SIGTSTP; no shell can continue it here, so foster did");
        }
        terminal.line("words");
        terminal.expect("words");
        terminal.keys(CTRL_D);
        poll("foster ends", || terminal.child.try_wait().unwrap().is_some());
        assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
    });
}

/// No shell watches foster there, and for SIGSTOP the kernel does not ask whether one does.
#[test]
fn in_a_pane_a_command_that_somebody_stops_and_continues_goes_on() {
    each(|foster| {
        let mut terminal = Terminal::run_in_a_pane(&[foster, "cat"]);
        terminal.expect_foreground("cat");
        let own = only_child(terminal.program_pid());
        let cat = only_child(own);
        for _ in 0..2 {
            send(cat, SIGSTOP);
            terminal.expect(
                "warning: command cat was suspended by SIGSTOP and stands still until somebody sends it SIGCONT",
            );
            assert_eq!(state(cat), 'T');
            // foster has tried to stop, and has given the terminal back.
            terminal.expect_foreground("cat");
            poll("foster waits", || state(own) == 'S');
            send(cat, SIGCONT);
            terminal.line("words");
            terminal.expect("words");
        }
        send(cat, SIGSTOP);
        terminal.expect("until somebody sends it SIGCONT");
        send(own, SIGTERM);
        terminal.expect("foster killed 15");
    });
}

#[test]
fn in_a_pane_a_ctrl_z_is_undone() {
    each(|foster| {
        let script = format!("{foster} cat; echo after");
        for (program, told) in [(&[foster, "cat"][..], "foster exited 0"), (&["sh", "-c", &script], "after")] {
            let mut terminal = Terminal::run_in_a_pane(program);
            terminal.expect_foreground("cat");
            for _ in 0..2 {
                terminal.keys(CTRL_Z);
                terminal.expect(
                    "warning: command cat was suspended by SIGTSTP; no shell can continue it here, so foster did",
                );
                terminal.expect_foreground("cat");
                terminal.line("words");
                terminal.expect("words");
            }
            terminal.keys(CTRL_D);
            terminal.expect(told);
        }
    });
}

/// Somebody's SIGSTOP: the shell gets its prompt, as it does when a job of its own stops.
#[test]
fn a_job_that_somebody_stops_is_continued_by_fg() {
    each(|foster| {
        let mut shell = Terminal::shell();
        shell.line(&format!("{foster} cat"));
        shell.expect_foreground("cat");
        let cat = only_child(only_child(only_child(shell.program_pid())));
        send(cat, SIGSTOP);
        shell.expect("Stopped");
        shell.expect(PROMPT);
        shell.line("fg");
        shell.expect_foreground("cat");
        shell.line("words");
        shell.expect("words");
        shell.keys(CTRL_C);
        shell.expect_status(130);
    });
}

/// With leftovers that take their time the terminal is foster's own again, so a Ctrl-C reaches it, and then them.
#[test]
fn while_leftovers_take_their_time_ctrl_c_is_a_stop_request() {
    each(|foster| {
        let mut shell = Terminal::shell();
        let fixture = fixture();
        shell.line(&format!("{foster} {} leave stubborn", fixture.display()));
        shell.expect("stubborn got 15");
        shell.expect_foreground(name_of(foster));
        shell.keys(CTRL_C);
        shell.expect("stubborn got 2");
    });
}

/// foster has the terminal again then, so a Ctrl-Z is foster's, and what it forwards stops the leftovers.
#[test]
fn while_leftovers_are_waited_for_ctrl_z_and_fg_stop_and_continue_all_of_it() {
    each(|foster| {
        let fixture = fixture();
        let name = name_of(foster);
        for (options, told) in
            [("", &["patient got 15", "patient got 18"][..]), ("-v --wait", &["waiting for them, as --wait says"])]
        {
            let mut shell = Terminal::shell();
            shell.line(&format!("{foster} {options} {} leave patient", fixture.display()));
            told.iter().for_each(|line| shell.expect(line));
            shell.expect_foreground(name);
            for _ in 0..2 {
                shell.keys(CTRL_Z);
                shell.expect("Stopped");
                shell.expect(PROMPT);
                shell.line("fg");
                shell.expect("patient got 18");
            }
            shell.expect_foreground(name);
            shell.keys(CTRL_C);
            shell.expect("patient got 2");
            shell.expect_status(4);
        }
    });
}

/// Nobody could ever `fg` it.
#[test]
fn as_pid_1_a_ctrl_z_for_leftovers_is_undone() {
    each(|foster| {
        let mut terminal = Terminal::run_as_session_leader(&[foster, fixture().to_str().unwrap(), "leave", "patient"]);
        terminal.expect("patient got 15");
        terminal.expect("patient got 18");
        terminal.keys(CTRL_Z);
        terminal.expect(" left behind got SIGTSTP; no shell can continue it here, so foster did");
        terminal.expect("patient got 18");
        terminal.keys(CTRL_C);
        terminal.expect("patient got 2");
        assert_eq!(terminal.finish(), Some(4));
    });
}

#[test]
fn a_terminal_that_cannot_be_handed_on_is_one_line_and_the_command_runs() {
    if !namespaces() {
        return;
    }
    each(|foster| {
        let fixture = fixture();
        let before = [fixture.to_str().unwrap(), "refusing", "1", "tcsetpgrp"];
        let mut terminal = Terminal::run(&[&before[..], &[foster, "sh", "-c", "exit 7"]].concat());
        terminal.expect(
            "warning: the command did not get the terminal, so job control may not work: Operation not permitted",
        );
        poll("foster ends", || terminal.child.try_wait().expect("wait").is_some_and(|status| status.code() == Some(7)));
    });
}

#[test]
fn without_any_terminal_it_works_too() {
    each(|foster| {
        let mut shell = Terminal::shell();
        shell.line(&format!("setsid --wait {foster} sh -c 'exit 5' </dev/null; script -qec '{foster} tty' /dev/null"));
        shell.expect("/dev/pts/");
        shell.expect_status(0);
        shell.line(&format!("{foster} sh -c 'exit 5' <&-"));
        shell.expect_status(5);
    });
}

/// Ctrl-S, or a terminal emulator that hangs: whoever writes to it waits, and foster does not.
#[test]
fn a_terminal_that_stands_still_does_not_hold_foster() {
    each(|foster| {
        let files = Scratch::new("stopped-terminal");
        let (told, fixture) = (files.path("told"), fixture());
        let start = ["sh", "-c", "echo up; read _; exec \"$@\"", "sh", foster, "-vvv"];
        let command = ["sh", "-c", "exec \"$0\" orphans 500 1 together >\"$1\""];
        let paths = [fixture.to_str().unwrap(), told.to_str().unwrap()];
        let mut terminal = Terminal::run(&[&start[..], &command, &paths].concat());
        terminal.expect("up");
        terminal.keys(CTRL_S);
        terminal.keys("\n");
        poll("foster has ended", || terminal.child.try_wait().expect("wait").is_some());
        assert_eq!(std::fs::read_to_string(&told).unwrap(), "reaped 500 zombies 0\n");
        assert!(!terminal.screen().contains("foster["), "the terminal stood still: {}", terminal.screen());
    });
}
