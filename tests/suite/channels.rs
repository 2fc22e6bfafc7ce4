//! Each way to have foster, tried as its users do, with what `make everywhere` has made: TEST_DIST. All of them end with
//! the release's own bytes, which then run: foreign ones by the emulator.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::architectures::{Architecture, architectures};
use crate::documents::read;
use crate::harness::{Scratch, plainly, skipped};
use crate::runtimes::{possible, script};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What packaging/release has made. Without it nothing here is tried; with it everything is, and what is missing fails.
fn dist() -> Option<PathBuf> {
    let dist = std::env::var_os("TEST_DIST").map(PathBuf::from);
    if dist.is_none() {
        skipped("no release (make everywhere makes one), so no way to have it is tried");
    }
    dist
}

/// A virtual environment that the Makefile has made.
fn venv(name: &str) -> PathBuf {
    std::env::var("TEST_VENVS").map_or_else(|_| project().join("target/venv"), PathBuf::from).join(name)
}

/// Runs it to its end, which has to be good, and returns what is on stdout.
fn run(command: &mut Command) -> String {
    let output = plainly(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What takes a while, with a deadline of its own: the words that follow.
fn at_length() -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "300"]).stdin(Stdio::null());
    command
}

fn run_at_length(command: &mut Command) {
    let output = command.output().expect("timeout");
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {said}");
}

/// A module's program in the virtual environment of that name. Its scripts in bin/ name the place where it was made.
fn python(venv_name: &str, module: &str) -> Command {
    let mut command = Command::new(venv(venv_name).join("bin/python"));
    command.args(["-m", module]);
    command
}

/// A command of root's in a user namespace: it may own files, and no more.
fn as_root(words: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--"]).args(words);
    command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap()));
    command
}

/// What is below a root, but for the package manager's own.
fn files(root: &Path) -> String {
    run(Command::new("find").arg(root).args(["-path", "*/var/*", "-prune", "-o", "!", "-type", "d", "-print"]))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The installed program is the release's, and runs.
fn assert_is_foster(program: &Path, dist: &Path, one: &Architecture) {
    let released = std::fs::read(dist.join(format!("foster-{}", one.name))).unwrap();
    let installed = std::fs::read(program).unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    assert!(installed == released, "{}: other bytes than the release's", program.display());
    assert_eq!(version(program, one), format!("foster {VERSION}\n"), "{}", program.display());
}

fn version(program: &Path, one: &Architecture) -> String {
    let mut words = one.emulator.iter().map(Path::new).chain([program]);
    run(Command::new(words.next().unwrap()).args(words).arg("--version"))
}

#[test]
fn a_release_has_these_files_and_no_others() {
    let Some(dist) = dist() else { return };
    let mut expected: BTreeSet<String> =
        ["foster-image.tar", "foster-installer-image.tar", "foster-share.tar.gz", "PKGBUILD", "SHA256SUMS"]
            .map(str::to_owned)
            .into();
    expected.insert(format!("foster-compat-{VERSION}-1.noarch.rpm"));
    for one in architectures() {
        expected.insert(format!("foster-{}", one.name));
        expected.insert(format!("foster-{}.cdx.json", one.name));
        expected.insert(format!("foster_{VERSION}-1_{}.deb", one.debian));
        expected.insert(format!("foster-compat_{VERSION}-1_{}.deb", one.debian));
        expected.insert(format!("foster-{VERSION}-1.{}.rpm", one.rpm));
        expected.insert(format!("foster_init-{VERSION}-py3-none-{}.whl", one.wheel_tags.join(".")));
    }
    let entries = std::fs::read_dir(&dist).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: BTreeSet<String> = entries.collect();
    assert_eq!(found, expected);
    let sums = run(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&dist));
    assert_eq!(sums.lines().filter(|line| line.ends_with(": OK")).count(), expected.len() - 1, "{sums}");
}

/// Each architecture's file is for that machine, and its bill of materials has every crate of the binary.
#[test]
fn a_bill_of_materials_has_every_crate() {
    let Some(dist) = dist() else { return };
    for one in architectures() {
        let bom = std::fs::read(dist.join(format!("foster-{}.cdx.json", one.name))).unwrap();
        let bom: serde_json::Value = serde_json::from_slice(&bom).unwrap();
        let name = |part: &serde_json::Value| part["name"].as_str().unwrap().to_owned();
        let crates: BTreeSet<String> = bom["components"].as_array().unwrap().iter().map(name).collect();
        let tree = ["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--target", &one.target];
        let tree = run(Command::new(env!("CARGO")).args(tree).current_dir(project()));
        let needed: BTreeSet<String> =
            tree.lines().skip(1).map(|line| line.split(' ').next().unwrap().into()).collect();
        assert!(needed.len() > 5 && needed.is_subset(&crates), "{}: {needed:?} in {crates:?}", one.name);
    }
}

/// Made once more, a moment later and elsewhere, from the same binaries. And this machine's is what make build makes.
#[test]
fn everything_is_reproducible() {
    let Some(dist) = dist() else { return };
    let built = format!("target/{0}-unknown-linux-musl/release/foster", std::env::consts::ARCH);
    let released = std::fs::read(dist.join(format!("foster-{}", std::env::consts::ARCH))).unwrap();
    assert!(std::fs::read(project().join(built)).unwrap() == released, "the release has other bytes than make build's");
    let scratch = Scratch::new("reproducible");
    let again = scratch.path("");
    for one in architectures() {
        std::fs::copy(dist.join(format!("foster-{}", one.name)), again.join(format!("foster-{}", one.name))).unwrap();
    }
    run(Command::new(project().join("packaging/share")).arg(again.join("foster-share.tar.gz")));
    let mut release = at_length();
    release.arg(project().join("packaging/release")).arg(&again);
    run_at_length(release.args(["image", "wheel", "deb", "rpm", "pkgbuild"]));
    let mut count = 0;
    for entry in std::fs::read_dir(&again).unwrap() {
        let path = entry.unwrap().path();
        let first = std::fs::read(dist.join(path.file_name().unwrap())).unwrap();
        assert!(std::fs::read(&path).unwrap() == first, "{}: other bytes the second time", path.display());
        count += 1;
    }
    assert!(count > 5 * architectures().len(), "{count} files");
}

#[test]
fn the_images_are_pulled_and_run() {
    let Some(dist) = dist() else { return };
    assert!(possible(&["podman", "runc", "skopeo", "busybox", "python3"]), "not possible here");
    let registry = project().join("target/registry/usr/bin/docker-registry");
    script("registry.sh", &[], &[("DIST", dist), ("REGISTRY", registry)]);
}

/// pip chooses the wheel by each of its tags, and what it installs runs.
#[test]
fn pip_installs_the_wheel_for_each_platform() {
    let Some(dist) = dist() else { return };
    for one in architectures() {
        for tag in &one.wheel_tags {
            let scratch = Scratch::new("wheel");
            let target = scratch.path("target");
            let mut install = python("twine", "pip");
            install.args(["install", "-q", "--disable-pip-version-check", "--no-index", "--only-binary=:all:"]);
            install.arg("--find-links").arg(&dist).args(["--platform", tag, "--target", text(&target), "foster-init"]);
            run(&mut install);
            assert_is_foster(&target.join("bin/foster"), &dist, &one);
        }
    }
}

#[test]
fn the_wheel_lives_in_a_virtual_environment_and_leaves_nothing_behind() {
    let Some(dist) = dist() else { return };
    let scratch = Scratch::new("venv");
    let made = scratch.path("venv");
    run(Command::new("python3").args(["-m", "venv"]).arg(&made));
    let files = || run(Command::new("find").arg(&made).args(["-name", "*foster*"]));
    assert_eq!(files(), "");
    let pip = |words: &[&str]| {
        let mut pip = Command::new(made.join("bin/pip"));
        pip.args(words).env("PIP_NO_INDEX", "1").env("PIP_FIND_LINKS", &dist).env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
        run(&mut pip)
    };
    pip(&["install", "foster-init"]);
    assert_is_foster(&made.join("bin/foster"), &dist, &architectures()[0]);
    assert!(pip(&["show", "foster-init"]).contains(&format!("\nVersion: {VERSION}\n")));
    pip(&["check"]);
    pip(&["uninstall", "--yes", "foster-init"]);
    assert_eq!(files(), "");
}

#[test]
fn twine_takes_the_wheels() {
    let Some(dist) = dist() else { return };
    let wheels: Vec<PathBuf> = std::fs::read_dir(&dist).unwrap().map(|entry| entry.unwrap().path()).collect();
    let wheels = wheels.iter().filter(|path| path.extension().is_some_and(|extension| extension == "whl"));
    let said = run(python("twine", "twine").args(["--no-color", "check", "--strict"]).args(wheels));
    assert_eq!(said.matches("PASSED").count(), architectures().len(), "{said}");
}

/// `packages` has what else is in them, and that they are removed again.
#[test]
fn dpkg_installs_the_packages_of_each_architecture() {
    let Some(dist) = dist() else { return };
    for one in architectures() {
        let scratch = Scratch::new("deb");
        let root = scratch.path("");
        for dir in ["info", "updates"] {
            std::fs::create_dir_all(root.join("var/lib/dpkg").join(dir)).unwrap();
        }
        std::fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
        for name in ["foster", "foster-compat"] {
            let package = dist.join(format!("{name}_{VERSION}-1_{}.deb", one.debian));
            run(&mut as_root(&["dpkg", "--root", text(&root), "--force-architecture", "--install", text(&package)]));
        }
        assert_is_foster(&root.join("usr/bin/foster"), &dist, &one);
        assert!(version(&root.join("usr/bin/tini"), &one).starts_with("tini version "), "{}", one.name);
    }
}

fn rpm(root: &Path, words: &[&str]) -> String {
    let mut command = as_root(&["rpm", "--root", text(root), "--define", "_dbpath /var/lib/rpm"]);
    run(command.args(words))
}

/// Into a root that is empty, so that nothing of a package's can need a shell; and out of it again.
#[test]
fn rpm_installs_the_packages_of_each_architecture() {
    let Some(dist) = dist() else { return };
    for one in architectures() {
        let scratch = Scratch::new("rpm");
        let root = scratch.path("");
        let package = dist.join(format!("foster-{VERSION}-1.{}.rpm", one.rpm));
        let compat = dist.join(format!("foster-compat-{VERSION}-1.noarch.rpm"));
        rpm(&root, &["--ignorearch", "--install", text(&package), text(&compat)]);
        assert_is_foster(&root.join("usr/bin/foster"), &dist, &one);
        for name in ["usr/bin/dumb-init", "usr/libexec/podman/catatonit", "usr/libexec/foster/docker-init"] {
            let foster = root.join("usr/bin/foster").canonicalize().unwrap();
            assert_eq!(root.join(name).canonicalize().unwrap(), foster, "{name}");
        }
        assert!(version(&root.join("usr/bin/tini"), &one).starts_with("tini version "), "{}", one.name);
        let query = rpm(&root, &["--query", "--queryformat", "%{ARCH} %{LICENSE} %{URL}\n", "foster"]);
        assert_eq!(query, format!("{} {} {}\n", one.rpm, env!("CARGO_PKG_LICENSE"), env!("CARGO_PKG_REPOSITORY")));
        rpm(&root, &["--verify", "foster", "foster-compat"]);
        rpm(&root, &["--erase", "foster", "foster-compat"]);
        assert_eq!(files(&root), "", "{}", one.name);
    }
}

/// What makepkg and pacman take for the machine's own. A package is not compressed, which takes time alone.
struct Arch {
    scratch: Scratch,
}

impl Arch {
    /// With the release's files where makepkg looks before it fetches anything.
    fn new(dist: &Path, name: &str, arch: &str) -> Arch {
        let scratch = Scratch::new("pacman");
        let machine = Arch { scratch };
        for (from, to) in [
            ("PKGBUILD".to_owned(), "PKGBUILD".to_owned()),
            (format!("foster-{name}"), format!("foster-{VERSION}-{arch}")),
            ("foster-share.tar.gz".to_owned(), format!("foster-share-{VERSION}.tar.gz")),
        ] {
            std::fs::copy(dist.join(from), machine.path(&to)).unwrap();
        }
        let config = std::fs::read_to_string("/etc/makepkg.conf").unwrap();
        let config = format!("{config}\nCARCH={arch}\nPKGEXT=.pkg.tar\n");
        machine.scratch.file("makepkg.conf", config.as_bytes(), "644");
        machine.scratch.file("pacman.conf", format!("[options]\nArchitecture = {arch}\n").as_bytes(), "644");
        std::fs::create_dir_all(machine.path("root/var/lib/pacman")).unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path(name)
    }

    /// makepkg refuses to be root's.
    fn makepkg(&self) -> String {
        let here = self.path("").display().to_string();
        format!(
            "HOME={here} unshare --user --map-user=1000 --map-group=1000 -- makepkg --nodeps --config {here}/makepkg.conf"
        )
    }

    fn pacman(&self) -> String {
        let (here, root) = (self.path("").display().to_string(), "root/var/lib/pacman");
        format!(
            "unshare --user --map-root-user -- pacman --config {here}/pacman.conf --root {here}/root --dbpath {here}/{root} \
             --noconfirm"
        )
    }

    fn shell(&self, line: &str) {
        let mut shell = at_length();
        shell.args(["bash", "-ec", line]).current_dir(self.path(""));
        shell.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap()));
        run_at_length(&mut shell);
    }
}

/// makepkg takes the release's files, compares their checksums, and makes a package; pacman installs it and removes it.
#[test]
fn makepkg_and_pacman_make_and_install_a_package() {
    let Some(dist) = dist() else { return };
    for one in architectures() {
        let Some(arch) = &one.arch else { continue };
        let machine = Arch::new(&dist, &one.name, arch);
        let root = machine.path("root");
        machine.shell(&format!("{}; {} --upgrade foster-bin-*.pkg.tar", machine.makepkg(), machine.pacman()));
        assert_is_foster(&root.join("usr/bin/foster"), &dist, &one);
        assert!(root.join("usr/share/man/man1/foster.1.gz").exists());
        machine.shell(&format!("{} --remove foster-bin", machine.pacman()));
        assert_eq!(files(&root), "", "{arch}");
        // Other bytes than the release's are not packaged.
        machine.scratch.file(&format!("foster-{VERSION}-{arch}"), b"another program", "755");
        machine.shell(&format!("! {} --force", machine.makepkg()));
    }
}

/// The command lines of docs/install.md, in its order, in one shell. Where they would reach the network, or this machine's own
/// files, a function of the same name has them reach the release and a directory.
#[test]
fn the_documents_lines_install_foster() {
    let Some(dist) = dist() else { return };
    let one = &architectures()[0];
    let machine = Arch::new(&dist, &one.name, one.arch.as_deref().unwrap());
    let (here, dist_text) = (machine.path("").display().to_string(), text(&dist));
    for file in std::fs::read_dir(&dist).unwrap().map(|entry| entry.unwrap().path()) {
        let is_package = file.extension().is_some_and(|extension| extension == "deb" || extension == "rpm");
        if is_package {
            std::os::unix::fs::symlink(&file, machine.path(file.file_name().unwrap().to_str().unwrap())).unwrap();
        }
    }
    for dir in ["local/bin", "deb/var/lib/dpkg/info", "deb/var/lib/dpkg/updates", "rpm"] {
        std::fs::create_dir_all(machine.path(dir)).unwrap();
    }
    std::fs::write(machine.path("deb/var/lib/dpkg/status"), "").unwrap();
    let url = concat!(env!("CARGO_PKG_REPOSITORY"), "/releases/latest/download");
    let functions = [
        format!("curl() {{ command curl \"${{@//{}/file://{dist_text}}}\"; }}", url.replace('/', "\\/")),
        format!("install() {{ command install \"${{@/\\/usr\\/local/{here}/local}}\"; }}"),
        "python3 -m venv venv".to_owned(),
        format!("pip() {{ PIP_NO_INDEX=1 PIP_FIND_LINKS={dist_text} venv/bin/pip \"$@\"; }}"),
        format!("dpkg() {{ unshare --user --map-root-user -- dpkg --root {here}/deb \"$@\"; }}"),
        format!(
            "rpm() {{ unshare --user --map-root-user -- rpm --root {here}/rpm --define '_dbpath /var/lib/rpm' \"$@\"; }}"
        ),
        format!("makepkg() {{ {} \"$@\"; }}", machine.makepkg()),
        format!("pacman() {{ {} \"$@\"; }}", machine.pacman()),
        // The crate as it would be uploaded, in the place of the one in the registry.
        format!(
            "command cargo package --quiet --allow-dirty --no-verify --manifest-path {}/Cargo.toml --target-dir {here}/package",
            project().display()
        ),
        format!("tar -x -f package/package/foster-{VERSION}.crate"),
        format!(
            "cargo() {{ CARGO_TARGET_DIR={here}/built command cargo \"${{@/#foster/--path=foster-{VERSION}}}\" --root {here}/cargo; }}"
        ),
    ];
    let lines = crate::commands::for_release();
    assert!(lines.len() >= 7, "{lines:?}");
    machine.shell(&[&functions[..], &lines[..]].concat().join("\n"));
    for place in ["local/bin", "cargo/bin", "venv/bin", "deb/usr/bin", "rpm/usr/bin", "root/usr/bin"] {
        assert_is_foster(&machine.path(place).join("foster"), &dist, one);
    }
    for place in ["deb/usr/bin", "rpm/usr/bin"] {
        assert!(version(&machine.path(place).join("tini"), one).starts_with("tini version "), "{place}");
    }
}

/// The row of sizes in docs/install.md is that of the files. Another compiler's differ a little: `UPDATE=1 make everywhere`
/// writes them anew.
#[test]
fn the_documents_sizes_are_those_of_the_files() {
    let Some(dist) = dist() else { return };
    let document = read("docs/install.md");
    let row = |name: &str| {
        let line = document.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no row {name}"));
        line.trim_matches('|').split('|').skip(1).map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
    };
    let names: Vec<String> = architectures().into_iter().map(|one| one.name).collect();
    assert_eq!(row("| |"), names, "the table's columns");
    let bytes = |name: &String| std::fs::metadata(dist.join(format!("foster-{name}"))).unwrap().len();
    let sizes: Vec<u64> = names.iter().map(bytes).collect();
    let shown: Vec<u64> = row("| bytes |").iter().map(|cell| cell.replace(',', "").parse().unwrap()).collect();
    if std::env::var_os("UPDATE").is_some() {
        let cells: String = sizes.iter().map(|size| format!(" {} |", with_commas(*size))).collect();
        let old = document.lines().find(|line| line.starts_with("| bytes |")).unwrap();
        std::fs::write(project().join("docs/install.md"), document.replace(old, &format!("| bytes |{cells}"))).unwrap();
        return;
    }
    for ((name, size), shown) in names.iter().zip(sizes).zip(shown) {
        assert!(size.abs_diff(shown) < shown / 20, "{name}: {size} bytes, and docs/install.md says {shown}");
    }
}

fn with_commas(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", with_commas(number / 1000), number % 1000),
    }
}
