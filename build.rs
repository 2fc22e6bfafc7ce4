//! Tells the linker where foster's parts go (src/layout.ld, which says why).

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/layout.ld");
    let is = |variable: &str, value: &str| var(variable).is_ok_and(|found| found == value);
    // As .cargo/config.toml has it. A position-independent program has more parts, which that layout does not know.
    let is_fixed = var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| flags.contains("relocation-model=static"));
    if is("CARGO_CFG_TARGET_ARCH", "x86_64") && is("CARGO_CFG_TARGET_ENV", "musl") && is_fixed {
        let here = var("CARGO_MANIFEST_DIR").unwrap_or_default();
        // Words that gcc and ld both take: either may be the linker. Code and constants are one mapping, as they were until
        // 2018, and nothing is writable only at the start, since nothing is relocated: each mapping costs time.
        for word in ["-T", &format!("{here}/src/layout.ld"), "-z", "noseparate-code", "-z", "norelro"] {
            println!("cargo::rustc-link-arg-bins={word}");
        }
    }
}
