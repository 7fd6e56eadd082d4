//! block FILE REPEATS: time rust-bitcoin on reading and writing a block's payload.
//!
//! Prints one line of JSON: the seconds of each repeat. A read block is freed within its time.

use std::hint::black_box;
use std::time::Instant;

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::Block;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let payload = std::fs::read(&arguments[1]).expect("the payload");
    let repeats: usize = arguments[2].parse().expect("a number of repeats");
    let block: Block = deserialize(&payload).expect("a block");
    assert_eq!(serialize(&block), payload, "it is written as it was read");
    let decode = timed(repeats, || {
        drop(black_box(
            deserialize::<Block>(black_box(&payload)).unwrap(),
        ));
    });
    let encode = timed(repeats, || drop(black_box(serialize(black_box(&block)))));
    println!("{{\"decode\": {decode:?}, \"encode\": {encode:?}}}");
}

/// Give the seconds of each repeat; a few before them warm up.
fn timed(repeats: usize, mut work: impl FnMut()) -> Vec<f64> {
    let mut times = Vec::with_capacity(repeats);
    for round in 0..repeats + 5 {
        let start = Instant::now();
        work();
        if round >= 5 {
            times.push(start.elapsed().as_secs_f64());
        }
    }
    times
}
