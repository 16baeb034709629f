//! The spawner on its own, for the tests of this crate: in the product it is a hidden part of `fn`.

use std::os::fd::AsFd;

use sandbox::{Resident, ResidentCall};

/// Sends every byte back, until the host closes the lane.
fn echo(call: ResidentCall) -> i32 {
    let Some(lane) = call.lanes.first() else { return 1 };
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(lane.as_fd(), &mut buffer) {
            Ok(0) | Err(_) => return 0,
            Ok(length) => {
                if rustix::io::write(lane.as_fd(), &buffer[..length]).is_err() {
                    return 1;
                }
            }
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let entry = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    std::process::exit(sandbox::spawner::main(
        &entry,
        &rest,
        &[Resident {
            name: "echo",
            serve: echo,
        }],
    ));
}
