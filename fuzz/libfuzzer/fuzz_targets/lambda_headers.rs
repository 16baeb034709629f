#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| (fuzz::target("lambda_headers").run)(input));
