//! Greets whoever is named in the body, and says how the request came.

use std::io::{self, Read, Write};

fn main() -> io::Result<()> {
    let mut name = String::new();
    io::stdin().read_to_string(&mut name)?;
    let name = match name.trim() {
        "" => "world",
        name => name,
    };
    let method = std::env::var("REQUEST_METHOD").unwrap_or_default();
    let path = std::env::var("PATH_INFO").unwrap_or_default();
    writeln!(io::stdout(), "Hello, {name}! You sent a {method} to {path}.")
}
