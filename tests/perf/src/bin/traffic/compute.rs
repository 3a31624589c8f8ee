//! Work that needs a CPU and nothing else.

use std::hint::black_box;

use dhow_perf::traffic::{BEGIN, END};

/// Words that the work mixes over and over: 256 KiB, within a second-level cache.
const WORDS: usize = 32 << 10;

/// Passes over the words in one unit of work, some 10 ms.
const PASSES: usize = 250;

/// An odd number with bits all over (2^64 divided by the golden ratio).
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Works, with a line before and one after it.
pub(crate) fn compute(units: usize) -> anyhow::Result<()> {
    let mut words = vec![1_u64; WORDS];
    crate::say(BEGIN)?;
    for _ in 0..units * PASSES {
        mix(black_box(&mut words));
    }
    crate::say(END)?;
    Ok(())
}

/// Each word depends on all before it, so no compiler and no vector unit can cut it short.
fn mix(words: &mut [u64]) {
    let mut state = MULTIPLIER;
    for word in words {
        state = (state.rotate_left(5) ^ *word).wrapping_mul(MULTIPLIER);
        *word = state;
    }
}
