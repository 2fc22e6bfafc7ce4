//! Feeds foster's parsers with what libFuzzer makes up.
#![no_main]

#[path = "parsers.rs"]
mod parsers;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some(line) = parsers::run(input) {
        let value: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
        assert!(value.is_object());
    }
});
