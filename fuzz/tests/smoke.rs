//! Every target over its corpus, and over a bounded number of mutations of it. The same inputs in each run: a failure here is there again tomorrow.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fuzz::{TARGETS, Target};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// Mutations of each target's corpus.
const MUTATIONS: usize = 1000;
/// Changes that one mutation is made of, at most.
const CHANGES: usize = 6;
/// Longest input.
const LONGEST: usize = 16 * 1024;

fn corpus(target: Target) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let mut inputs: Vec<_> = fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| {
            let path = entry.expect("the corpus can be listed").path();
            let input = fs::read(&path).expect("an input can be read");
            (path, input)
        })
        .collect();
    inputs.sort();
    inputs
}

fn run(target: Target, input: &[u8], from: &str) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        panic!("{} fails on {from}:\n{}", target.name, input.escape_ascii());
    }
}

#[test]
fn every_input_of_the_corpus_is_read_as_it_should_be() {
    for target in TARGETS {
        let inputs = corpus(*target);
        assert!(inputs.len() >= 5, "{} has a corpus", target.name);
        run(*target, b"", "nothing at all");
        for (path, input) in inputs {
            run(*target, &input, &path.display().to_string());
        }
    }
}

#[test]
fn every_directory_of_the_corpus_belongs_to_a_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut there: Vec<String> = fs::read_dir(corpus)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    let mut wanted: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    wanted.sort();
    assert_eq!(there, wanted);
    let libfuzzer = Path::new(env!("CARGO_MANIFEST_DIR")).join("libfuzzer/fuzz_targets");
    for target in TARGETS {
        let body = fs::read_to_string(libfuzzer.join(target.name).with_extension("rs")).unwrap();
        assert!(body.contains(&format!("\"{}\"", target.name)), "{}", target.name);
    }
}

fn one_of<'a, T>(list: &'a [T], random: &mut StdRng) -> &'a T {
    list.choose(random).expect("the list is not empty")
}

/// One change, of the kinds that break parsers.
fn change(input: &mut Vec<u8>, others: &[(PathBuf, Vec<u8>)], random: &mut StdRng) {
    let at = random.random_range(0..=input.len());
    let length = random.random_range(0..=16.min(input.len() - at));
    match random.random_range(0..8) {
        0 => input.insert(at, random.random()),
        1 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
        2 if at < input.len() => input[at] = *one_of(&[0, 0x7f, 0x80, 0xff, b'\n', b'\r', b'/', b'.'], random),
        3 => drop(input.drain(at..at + length)),
        4 => {
            let again = input[at..at + length].to_vec();
            input.splice(at..at, again);
        }
        5 => input.truncate(at),
        6 if at + 4 <= input.len() => {
            let number: u32 = *one_of(&[0, 1, u32::MAX, i32::MAX as u32, 0x1_0000, 12], random);
            input[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        _ => {
            let (_, other) = one_of(others, random);
            let from = random.random_range(0..=other.len());
            let to = (from + random.random_range(0..=64)).min(other.len());
            input.splice(at..at, other[from..to].iter().copied());
        }
    }
    input.truncate(LONGEST);
}

#[test]
fn mutations_of_the_corpus_break_nothing() {
    for (number, target) in TARGETS.iter().enumerate() {
        let inputs = corpus(*target);
        let mut random = StdRng::seed_from_u64(number as u64);
        for round in 0..MUTATIONS {
            let mut input = one_of(&inputs, &mut random).1.clone();
            for _ in 0..random.random_range(1..=CHANGES) {
                change(&mut input, &inputs, &mut random);
            }
            run(*target, &input, &format!("mutation {round}"));
        }
    }
}

/// The generator of mutations changes something: else the test above would prove nothing.
#[test]
fn mutations_differ_from_what_they_came_from() {
    let inputs = vec![(PathBuf::new(), b"some input that is long enough".to_vec())];
    let mut random = StdRng::seed_from_u64(0);
    let changed = (0..100)
        .filter(|_| {
            let mut input = inputs[0].1.clone();
            change(&mut input, &inputs, &mut random);
            input != inputs[0].1
        })
        .count();
    assert!(changed > 70, "{changed} of 100");
}
