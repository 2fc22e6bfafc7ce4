//! The architectures that foster is released for, as packaging/architectures has them.

use std::path::Path;

/// A row of that table.
#[derive(Debug)]
pub struct Architecture {
    pub name: String,
    pub target: String,
    pub debian: String,
    pub rpm: String,
    /// Arch Linux's name for it, where there is one.
    pub arch: Option<String>,
    /// None where this machine runs its programs itself.
    pub emulator: Option<String>,
    pub wheel_tags: Vec<String>,
}

pub fn architectures() -> Vec<Architecture> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/architectures");
    let table = std::fs::read_to_string(path).expect("packaging/architectures");
    let known = |word: &str| (word != "-").then(|| word.to_owned());
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[name, target, _image, debian, rpm, arch, emulator, tags] = &words[..] else { panic!("{line}") };
        Architecture {
            name: name.into(),
            target: target.into(),
            debian: debian.into(),
            rpm: rpm.into(),
            arch: known(arch),
            emulator: known(emulator),
            wheel_tags: tags.split('.').map(str::to_owned).collect(),
        }
    };
    table.lines().filter(|line| !line.starts_with('#')).map(row).collect()
}
