//! Generic and inlined functions in Rust.
//!
//! inlines [SECONDS=5]
//!
//! Expected stacks, root first:
//!   _start … main … inlines::main; inlines::burn_all; inlines::burn::<inlines::Adder>; `Adder::step` inlined
//!   _start … main … inlines::main; inlines::burn_all; inlines::burn::<inlines::Mixer>; `Mixer::step` inlined,
//!   and within it `inlines::mix` inlined
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

static STOP: AtomicBool = AtomicBool::new(false);

/// Steps between two looks at `STOP`.
const UNIT: u64 = 10_000;

trait Step {
    fn step(&self, value: u64) -> u64;
}

struct Adder(u64);

struct Mixer;

impl Step for Adder {
    #[inline(always)]
    fn step(&self, value: u64) -> u64 {
        black_box(value.wrapping_mul(6364136223846793005).wrapping_add(self.0))
    }
}

impl Step for Mixer {
    #[inline(always)]
    fn step(&self, value: u64) -> u64 {
        mix(value, 29)
    }
}

#[inline(always)]
fn mix(value: u64, shift: u32) -> u64 {
    black_box((value ^ (value >> shift)).wrapping_mul(6364136223846793005))
}

#[inline(never)]
fn burn<S: Step>(step: &S, mut value: u64) -> u64 {
    for _ in 0..UNIT {
        value = step.step(value);
    }
    value
}

#[inline(never)]
fn burn_all(mut value: u64) -> u64 {
    while !STOP.load(Ordering::Relaxed) {
        value = burn(&Adder(1), value);
        value = burn(&Mixer, value);
    }
    // Work after the last call, so that no call here is a tail call.
    black_box(value)
}

fn main() {
    let seconds: f64 = match std::env::args().nth(1).map(|text| text.parse()) {
        None => 5.0,
        Some(Ok(seconds)) if (0.001..86400.0).contains(&seconds) => seconds,
        Some(_) => std::process::exit(2),
    };
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs_f64(seconds));
        STOP.store(true, Ordering::Relaxed);
    });
    black_box(burn_all(black_box(1)));
}
