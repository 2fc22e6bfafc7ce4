//! Tells the linker where foster's parts go (src/layout.ld says why), and says when a release build cannot be what is shipped.

use std::env::var;

/// What makes foster one static program that is not relocated at its start, and a small one: a function that is used in
/// several places is there once (7 KB less, for 9 % more of the 4,000 instructions before the fork). A build script cannot
/// set these, only see them.
const FLAGS: &str = "-Ctarget-feature=+crt-static -Crelocation-model=static -Cllvm-args=-inline-threshold=5";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/layout.ld");
    let is = |variable: &str, value: &str| var(variable).is_ok_and(|found| found == value);
    let flags = var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let is_fixed = flags.contains("relocation-model=static");
    // The default for musl. Cargo tells a build script the flags alone.
    let is_musl = is("CARGO_CFG_TARGET_ENV", "musl") && !flags.contains("-crt-static");
    let is_static = is_musl || flags.contains("+crt-static");
    if is("PROFILE", "release") && !(is_fixed && is_static) {
        say_what_differs(is_static);
    }
    // A position-independent program has more parts, which that layout does not know.
    if is("CARGO_CFG_TARGET_ARCH", "x86_64") && is_musl && is_fixed {
        let here = var("CARGO_MANIFEST_DIR").unwrap_or_default();
        // gcc and ld both take these words: either may be the linker. Code and constants are one mapping, and nothing is
        // writable only at the start, since nothing is relocated. Each mapping costs time.
        for word in ["-T", &format!("{here}/src/layout.ld"), "-z", "noseparate-code", "-z", "norelro"] {
            println!("cargo::rustc-link-arg-bins={word}");
        }
        // Rust's own linker, in a cross build. It would end a mapping with the code and begin another in the same page, which
        // then is not executable.
        if var("RUSTC_LINKER").is_ok_and(|linker| linker.ends_with("rust-lld")) {
            println!("cargo::rustc-link-arg-bins=--no-rosegment");
        }
    }
}

/// `.cargo/config.toml` has the flags. RUSTFLAGS in the environment replaces it, and `cargo install foster` does not read it.
fn say_what_differs(is_static: bool) {
    let what = if is_static {
        "it relocates itself at the start, which takes 16 to 20 KiB more memory"
    } else {
        "it needs the shared libraries of the machine that it was built for, so it does not run in an image without them"
    };
    println!("cargo::warning=this foster is not the one that is released: {what}");
    println!("cargo::warning=the released one: RUSTFLAGS='{FLAGS}' and --target ARCH-unknown-linux-musl");
}
