//! `floor NAME [--rounds N] [--pause-us N]`: measures one floor of the kernel and prints one JSON line.

use std::time::Duration;

use sandbox::floors::Floor;

fn main() {
    std::process::exit(match run() {
        Ok(line) => {
            println!("{line}");
            0
        }
        Err(message) => {
            eprintln!("floor: {message}");
            1
        }
    });
}

fn run() -> Result<String, String> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments
        .next()
        .ok_or("usage: floor exec|ns6|ns7|box|rtt [--rounds N] [--pause-us N]")?;
    let (_, floor) = Floor::ALL
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or(format!("no floor is named {name:?}"))?;
    let (mut rounds, mut pause) = (100u64, 0);
    while let Some(option) = arguments.next() {
        let value = arguments
            .next()
            .and_then(|value| value.parse().ok())
            .ok_or(format!("{option} wants a number"))?;
        match option.as_str() {
            "--rounds" => rounds = value,
            "--pause-us" => pause = value,
            _ => return Err(format!("no option is named {option:?}")),
        }
    }
    let rounds = usize::try_from(rounds).map_err(|e| e.to_string())?;
    let samples = floor
        .measure(rounds, Duration::from_micros(pause))
        .map_err(|error| format!("{name}: {error}"))?;
    Ok(serde_json::json!({ "floor": format!("F_{name}"), "unit": "us", "samples": samples }).to_string())
}
