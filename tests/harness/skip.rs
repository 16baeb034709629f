//! Skips that are seen: each is printed with its reason and written to the file `$FN_TEST_SKIPS`, where `cargo xtask test` counts it.

use std::fs::File;
use std::io::Write;

/// Ends this test as skipped: `skip!("no {} here", what)`.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        $crate::skip::record(&format!($($reason)*));
        return;
    }};
}

/// Prints and records that the running test is skipped. The reason is one line.
pub fn record(reason: &str) {
    let thread = std::thread::current();
    let line = format!(
        "{}: {}\n",
        thread.name().unwrap_or("unknown test"),
        reason.replace('\n', " ")
    );
    print!("skipped {line}");
    if let Some(path) = std::env::var_os("FN_TEST_SKIPS") {
        // One write of an append-only file: lines of tests that run side by side stay whole.
        let file = File::options().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the list of skips can be written");
    }
}
