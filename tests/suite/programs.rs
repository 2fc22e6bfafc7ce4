//! Servers as Debian has them, stopped by foster as their manuals want it: nothing that they were given is lost.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::harness::{
    DEADLINE, End, Finished, Foster, Place, Run, Scratch, binaries, everywhere, namespaces, poll, send, skipped,
};

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// As a user other than root, whom nginx and PostgreSQL treat differently or refuse, and with shared memory of its own.
/// Outside the namespace it is the user of the test, who owns the test's files.
pub const ORDINARY_USER: [&str; 5] = ["unshare", "--user", "--map-user=1000", "--ipc", "--"];

/// Where `make test` unpacks Debian's packages that are not installed.
pub fn servers() -> PathBuf {
    match std::env::var_os("TEST_SERVERS") {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers"),
    }
}

/// A program of a Debian package: unpacked or installed; a `*` in a name of its path stands for a version. In CI it must be
/// there.
pub fn program(path: &str) -> Option<PathBuf> {
    let found = [servers(), "/".into()].into_iter().find_map(|root| find(root, path));
    assert!(found.is_some() || std::env::var_os("CI").is_none(), "CI, and no {path}");
    if found.is_none() {
        skipped(&format!("no {path} (make test fetches it), so it is not run"));
    }
    found
}

fn find(root: PathBuf, path: &str) -> Option<PathBuf> {
    let (name, rest) = path.split_once('/').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let found = |path: PathBuf| match rest {
        Some(rest) => find(path, rest),
        None => Some(path).filter(|path| path.exists()),
    };
    let Some((start, end)) = name.split_once('*') else { return found(root.join(name)) };
    std::fs::read_dir(root).ok()?.find_map(|entry| {
        let entry = entry.ok()?;
        let matches = entry.file_name().to_str()?.strip_prefix(start)?.ends_with(end);
        matches.then(|| found(entry.path())).flatten()
    })
}

/// Runs a server that may need libraries which are unpacked but not installed.
pub fn run(foster: Foster, command: &[&[&str]]) -> Run {
    let architecture = format!("{}-linux-gnu", std::env::consts::ARCH);
    foster.env("LD_LIBRARY_PATH", servers().join("usr/lib").join(architecture)).run(&command.concat())
}

/// Kills PID 1, as a platform does that has waited long enough, and with it all of its namespace.
fn kill(run: Run) {
    let foster = run.foster_pid();
    send(foster, SIGKILL);
    // The kernel kills the rest first, and only then can PID 1 be reaped.
    poll("PID 1 is reaped", || !Path::new(&format!("/proc/{foster}")).exists());
}

/// Connects as soon as the server listens.
pub fn connect(run: &Run, socket: &Path) -> UnixStream {
    let mut stream = None;
    poll(&format!("{} accepts; stderr: {}", socket.display(), run.stderr()), || {
        stream = UnixStream::connect(socket).ok();
        stream.is_some()
    });
    let stream = stream.expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream
}

/// Sends something and returns the answer, which ends in a known way.
pub fn ask(stream: &mut UnixStream, question: &[u8], end: &[u8]) -> Vec<u8> {
    stream.write_all(question).expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error}; so far: {answer:?}"));
        answer.extend(byte);
    }
    answer
}

/// What comes until the server's end of the connection is closed, in whatever way.
pub fn rest(mut stream: UnixStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    rest
}

const NGINX: &str = "
daemon off;
pid nginx.pid;
error_log stderr notice;
events {}
http {
    access_log off;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    server {
        listen unix:DIRECTORY/socket;
        root DIRECTORY;
    }
}
";

/// Far more than a socket's buffers hold.
const DOWNLOAD: u64 = 16 << 20;

/// Stops nginx while a client downloads, which reads on only once nginx is stopping. Returns how much the client gets.
fn nginx_stops_in_a_download(nginx: &Path, foster: Foster, stops: impl FnOnce(Run) -> Option<Run>) -> u64 {
    let files = Scratch::new("nginx");
    let directory = files.path("");
    let directory = directory.to_str().expect("UTF-8");
    files.file("nginx.conf", NGINX.replace("DIRECTORY", directory.trim_end_matches('/')).as_bytes(), "644");
    std::fs::File::create(files.path("large")).and_then(|file| file.set_len(DOWNLOAD)).expect("a large file");
    let nginx = nginx.to_str().expect("UTF-8");
    let run = run(foster, &[&ORDINARY_USER, &[nginx, "-p", directory, "-c", "nginx.conf", "-e", "stderr"]]);
    let mut client = connect(&run, &files.path("socket"));
    let head = ask(&mut client, b"GET /large HTTP/1.0\r\n\r\n", b"\r\n\r\n");
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&head));
    run.signal(SIGTERM);
    let run = stops(run);
    let length = rest(client).len() as u64;
    if let Some(run) = run {
        assert_eq!(run.finish().end, End::Exited(0));
    }
    length
}

#[test]
fn nginx_finishes_a_slow_download_when_it_gets_quit_for_term() {
    let (true, Some(nginx)) = (namespaces(), program("usr/sbin/nginx")) else { return };
    everywhere(|binary, place| {
        let length = nginx_stops_in_a_download(&nginx, Foster::new(binary, place).option("-rTERM:QUIT"), |run| {
            run.says("gracefully shutting down");
            Some(run)
        });
        assert_eq!(length, DOWNLOAD);
    });
}

/// So the test above can fail.
#[test]
fn nginx_cuts_a_slow_download_when_it_gets_term() {
    let (true, Some(nginx)) = (namespaces(), program("usr/sbin/nginx")) else { return };
    everywhere(|binary, place| {
        let length = nginx_stops_in_a_download(&nginx, Foster::new(binary, place), |run| {
            assert_eq!(run.finish().end, End::Exited(0));
            None
        });
        assert!(length < DOWNLOAD, "{length}");
    });
}

/// A database cluster of PostgreSQL's.
struct Cluster {
    files: Scratch,
    programs: PathBuf,
}

impl Cluster {
    fn new(name: &str, postgres: &Path) -> Cluster {
        let cluster = Cluster { files: Scratch::new(name), programs: postgres.parent().expect("bin").into() };
        let [initdb, data] = [cluster.program("initdb"), cluster.path("data")];
        let options = ["-D", &data, "--username=postgres", "--auth=trust", "--no-locale", "--no-sync"];
        let binary = &binaries()[0];
        let finished = run(Foster::new(binary, Place::Pid1), &[&ORDINARY_USER, &[&initdb], &options]).finish();
        assert_eq!(finished.end, End::Exited(0), "{finished:?}");
        cluster
    }

    fn program(&self, name: &str) -> String {
        self.programs.join(name).to_str().expect("UTF-8").into()
    }

    fn path(&self, name: &str) -> String {
        self.files.path(name).to_str().expect("UTF-8").into()
    }

    /// Starts PostgreSQL and waits until a client is connected.
    fn start(&self, foster: Foster) -> (Run, UnixStream) {
        let [postgres, data, sockets] = [self.program("postgres"), self.path("data"), self.path("")];
        // mmap: what a killed one leaves behind is in a file here, not in /dev/shm.
        let memory = ["-c", "fsync=off", "-c", "dynamic_shared_memory_type=mmap"];
        let options = [&postgres, "-D", &data, "-k", &sockets, "-c", "listen_addresses="];
        let run = run(foster, &[&ORDINARY_USER, &options, &memory]);
        run.says("ready to accept connections");
        let mut client = connect(&run, &self.files.path(".s.PGSQL.5432"));
        // The protocol's version 3.0, user and database; ReadyForQuery, idle.
        let parameters = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
        let length = (4 + parameters.len() as u32).to_be_bytes();
        ask(&mut client, &[&length[..], parameters].concat(), b"Z\0\0\0\x05I");
        (run, client)
    }

    /// Starts PostgreSQL, and stops it fast with the client connected. Returns what it said.
    fn start_and_stop_fast(&self, binary: &Path, place: Place) -> String {
        let (run, client) = self.start(Foster::new(binary, place).option("--rewrite=TERM:INT"));
        run.signal(SIGTERM);
        let told = rest(client);
        assert!(String::from_utf8_lossy(&told).contains("terminating connection due to administrator command"));
        let Finished { end, stderr, .. } = run.finish();
        assert_eq!(end, End::Exited(0), "{stderr}");
        assert!(stderr.contains("received fast shutdown request"), "{stderr}");
        stderr
    }
}

#[test]
fn postgresql_stops_fast_with_a_client_connected_when_it_gets_int_for_term() {
    let (true, Some(postgres)) = (namespaces(), program("usr/lib/postgresql/*/bin/postgres")) else { return };
    let cluster = Cluster::new("postgresql", &postgres);
    everywhere(|binary, place| {
        cluster.start_and_stop_fast(binary, place);
        let next = cluster.start_and_stop_fast(binary, place);
        assert!(next.contains("database system was shut down at"), "{next}");
        assert!(!next.contains("recovery"), "{next}");
    });
}

/// So the test above can fail: on SIGTERM PostgreSQL waits for its clients, until the platform loses patience.
#[test]
fn postgresql_recovers_when_it_was_killed_while_it_waited_for_a_client() {
    let (true, Some(postgres)) = (namespaces(), program("usr/lib/postgresql/*/bin/postgres")) else { return };
    let cluster = Cluster::new("postgresql-killed", &postgres);
    for binary in binaries() {
        let (run, _client) = cluster.start(Foster::new(&binary, Place::Pid1));
        run.signal(SIGTERM);
        run.says("received smart shutdown request");
        kill(run);
        let next = cluster.start_and_stop_fast(&binary, Place::Pid1);
        assert!(next.contains("was not properly shut down; automatic recovery in progress"), "{next}");
    }
}

/// Gives a redis a key, ends it, starts it again and asks for the key.
fn redis_after(redis: &Path, foster: impl Fn() -> Foster, end: impl Fn(Run)) -> Vec<u8> {
    let files = Scratch::new("redis");
    let socket = files.path("socket");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let [redis, unix, directory] = [redis, &socket, &files.path("")].map(text);
    let options = ["--port", "0", "--unixsocket", &unix, "--dir", &directory, "--save", "900 1"];
    let first = run(foster(), &[&[&redis], &options]);
    let mut client = connect(&first, &socket);
    assert_eq!(ask(&mut client, b"SET colour green\r\n", b"\r\n"), b"+OK\r\n");
    end(first);
    // What a killed one leaves would be taken for the next one's.
    let _ = std::fs::remove_file(&socket);
    let next = run(foster(), &[&[&redis], &options]);
    ask(&mut connect(&next, &socket), b"GET colour\r\n", b"\r\n")
}

#[test]
fn redis_saves_its_data_set() {
    let (true, Some(redis)) = (namespaces(), program("usr/bin/redis-server")) else { return };
    everywhere(|binary, place| {
        let stop = |run: Run| {
            run.signal(SIGTERM);
            let finished = run.finish();
            assert_eq!(finished.end, End::Exited(0), "{finished:?}");
            assert!(finished.lines.iter().any(|line| line.contains("DB saved on disk")), "{finished:?}");
        };
        assert_eq!(redis_after(&redis, || Foster::new(binary, place), stop), b"$5\r\n");
    });
}

/// So the test above can fail.
#[test]
fn redis_loses_its_data_set_when_it_is_killed() {
    let (true, Some(redis)) = (namespaces(), program("usr/bin/redis-server")) else { return };
    for binary in binaries() {
        assert_eq!(redis_after(&redis, || Foster::new(&binary, Place::Pid1), kill), b"$-1\r\n");
    }
}
