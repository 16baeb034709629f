//! Many calls at once to a function at zero.

use super::*;

/// Runs a burst of `calls` at one moment, each taking `service`, with starts that take `start`. Returns the starts and the answers.
fn burst(calls: usize, service: Duration, start: Duration, change: impl FnOnce(&mut Scale)) -> (usize, usize) {
    let mut desk = Desk::with(|scale| {
        (scale.max, scale.queue) = (16, 200);
        change(scale);
    });
    for _ in 0..calls {
        desk.waits();
    }
    let (mut starting, mut running) = (Vec::new(), Vec::new());
    let (mut starts, mut answered, mut waiting) = (0, 0, calls);
    loop {
        for command in desk.took() {
            match command {
                Command::Start { instance, purpose, .. } => {
                    assert!(purpose == Purpose::Ahead || waiting > starting.len(), "nobody needs it");
                    starts += 1;
                    starting.push((desk.now + start, instance.0));
                }
                Command::Grant { grant, .. } => {
                    waiting -= 1;
                    running.push((desk.now + service, grant));
                }
                Command::Refuse { refusal, .. } => panic!("{refusal:?}"),
                Command::Freeze { .. } | Command::Reclaim { .. } | Command::Kill { .. } => {}
            }
        }
        if answered == calls {
            return (starts, answered);
        }
        let next = starting
            .iter()
            .map(|(at, _)| *at)
            .chain(running.iter().map(|(at, _)| *at));
        let next = next.chain(desk.shelf.wake_by()).min().expect("something goes on");
        desk.now = desk.now.max(next);
        if let Some(at) = starting.iter().position(|(at, _)| *at <= desk.now) {
            let (_, id) = starting.remove(at);
            desk.shelf.started(desk.now, InstanceId(id), &mut desk.out);
        } else if let Some(at) = running.iter().position(|(at, _)| *at <= desk.now) {
            let (_, grant) = running.remove(at);
            desk.shelf
                .give_back(desk.now, grant.instance, grant.lane, service, &mut desk.out);
            answered += 1;
        } else {
            desk.shelf.tick(desk.now, &mut desk.out);
        }
    }
}

#[test]
fn short_calls_are_answered_by_the_few_that_were_started_first() {
    let (starts, answered) = burst(200, MS, MS * 50, |_| ());
    assert_eq!(answered, 200);
    assert!(starts <= 8, "twice the ramp of 4, seen {starts}");
}

#[test]
fn long_calls_are_answered_by_all_that_may_be_and_no_more() {
    let (starts, answered) = burst(200, MS * 1000, MS * 50, |_| ());
    assert_eq!((starts, answered), (16, 200), "each instance is started once");
}

#[test]
fn with_many_lanes_fewer_are_started() {
    let (starts, answered) = burst(200, MS * 1000, MS * 50, |scale| scale.concurrency = 50);
    assert_eq!(answered, 200);
    assert!(starts <= 4, "{starts}");
}
