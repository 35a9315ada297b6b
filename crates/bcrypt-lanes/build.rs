//! Computes the constants of Blowfish: the first 1,042 words of the fraction of π.
//!
//! Blowfish begins with the 18 words of its P-array and goes on with four tables of 256 words each. Computing them is
//! shorter than writing them down, and cannot be mistyped.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, iter};

/// The words of the P-array and of the four tables.
const WORDS: usize = 18 + 4 * 256;
/// Words behind those for what rounding gets wrong: far less than one of them, in 12,000 terms.
const GUARD: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = env::var_os("OUT_DIR").ok_or("cargo names no folder")?;
    let mut source = String::from("[");
    for word in pi().iter().skip(1).take(WORDS) {
        write!(source, "{word:#010x},")?;
    }
    source.push(']');
    fs::write(Path::new(&folder).join("pi.rs"), source)?;
    Ok(())
}

/// A number in words of 32 bits: one before the point, the rest behind it.
type Fixed = Vec<u32>;

/// π by Machin's formula: 16 arctan(1/5) − 4 arctan(1/239).
fn pi() -> Fixed {
    let mut pi = inverse_arctangent(5, 16);
    subtract(&mut pi, &inverse_arctangent(239, 4));
    pi
}

/// `factor` · arctan(1/`x`): the sum of ± `factor` / ((2k + 1) · x^(2k + 1)).
fn inverse_arctangent(x: u32, factor: u32) -> Fixed {
    let mut power: Fixed = iter::once(factor)
        .chain(iter::repeat_n(0, WORDS + GUARD))
        .collect();
    divide(&mut power, x);
    let mut sum = power.clone();
    for k in 1.. {
        divide(&mut power, x * x);
        if power.iter().all(|word| *word == 0) {
            break;
        }
        let mut term = power.clone();
        divide(&mut term, 2 * k + 1);
        if k % 2 == 1 {
            subtract(&mut sum, &term);
        } else {
            add(&mut sum, &term);
        }
    }
    sum
}

fn add(number: &mut Fixed, summand: &Fixed) {
    let mut carry = false;
    for (word, other) in number.iter_mut().zip(summand).rev() {
        let (partial, first) = word.overflowing_add(*other);
        let (whole, second) = partial.overflowing_add(u32::from(carry));
        *word = whole;
        carry = first || second;
    }
}

fn subtract(number: &mut Fixed, subtrahend: &Fixed) {
    let mut borrow = false;
    for (word, other) in number.iter_mut().zip(subtrahend).rev() {
        let (partial, first) = word.overflowing_sub(*other);
        let (whole, second) = partial.overflowing_sub(u32::from(borrow));
        *word = whole;
        borrow = first || second;
    }
}

fn divide(number: &mut Fixed, divisor: u32) {
    let mut remainder = 0;
    for word in number {
        let dividend = u64::from(remainder) << 32 | u64::from(*word);
        let [quotient, rest] = [dividend / u64::from(divisor), dividend % u64::from(divisor)];
        // The remainder is less than the divisor, so that both fit.
        *word = u32::try_from(quotient).unwrap_or(u32::MAX);
        remainder = u32::try_from(rest).unwrap_or(u32::MAX);
    }
}
