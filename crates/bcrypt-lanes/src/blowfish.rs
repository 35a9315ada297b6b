//! The expensive key schedule of Blowfish, for several keys at once.
//!
//! A round of Blowfish looks up four words whose addresses follow from the round before: a core spends it waiting for
//! its cache. The rounds of independent keys have nothing to wait for of each other, so that a core that is given them
//! side by side computes one while it waits for the next.
//!
//! Everything is indexed by bytes into tables of 256 words and by constants, where the compiler sees that no bound can be
//! exceeded. The rounds are written out: in a loop, the compiler would keep the counter in a register that a lane needs.

#![allow(
    clippy::indexing_slicing,
    reason = "arrays of constant length are indexed by bytes, constants and counters up to those lengths"
)]

use zeroize::Zeroize;

/// The words of the P-array: one for each round, and two.
pub(crate) const SUBKEYS: usize = 18;
/// The words of a table.
const ENTRIES: usize = 256;
/// The tables.
const BOXES: usize = 4;

/// The fraction of π in words, which is what Blowfish begins with.
const PI: [u32; SUBKEYS + BOXES * ENTRIES] = include!(concat!(env!("OUT_DIR"), "/pi.rs"));

/// What a schedule works on, together with the two words for each subkey that it is made of in turn.
pub(crate) struct Lane {
    boxes: [[u32; ENTRIES]; BOXES],
    subkeys: [u32; SUBKEYS],
    key: [u32; SUBKEYS],
    salt: [u32; SUBKEYS],
}

impl Lane {
    /// A lane that nobody uses.
    pub(crate) const fn empty() -> Self {
        Self {
            boxes: [[0; ENTRIES]; BOXES],
            subkeys: [0; SUBKEYS],
            key: [0; SUBKEYS],
            salt: [0; SUBKEYS],
        }
    }

    /// Tells whether nothing is left of anybody.
    #[cfg(test)]
    pub(crate) fn is_blank(&self) -> bool {
        let words = [&self.subkeys, &self.key, &self.salt];
        self.boxes
            .as_flattened()
            .iter()
            .chain(words.into_iter().flatten())
            .all(|word| *word == 0)
    }

    /// Leaves nothing of whoever had the lane.
    pub(crate) fn wipe(&mut self) {
        self.boxes.as_flattened_mut().zeroize();
        self.subkeys.zeroize();
        self.key.zeroize();
        self.salt.zeroize();
    }

    /// Begins a schedule. Key and salt are repeated to the length of the subkeys.
    pub(crate) fn begin(&mut self, key: &[u32; SUBKEYS], salt: &[u32; SUBKEYS]) {
        let (subkeys, boxes) = PI.split_at(SUBKEYS);
        self.subkeys.copy_from_slice(subkeys);
        self.boxes.as_flattened_mut().copy_from_slice(boxes);
        self.key = *key;
        self.salt = *salt;
        self.expand_with_salt();
    }

    /// The first expansion, which alone mixes the salt into every block.
    fn expand_with_salt(&mut self) {
        for (subkey, key) in self.subkeys.iter_mut().zip(self.key) {
            *subkey ^= key;
        }
        let [a, b, c, d] = [self.salt[0], self.salt[1], self.salt[2], self.salt[3]];
        let mut halves = [(a, b), (c, d)].into_iter().cycle();
        let (mut left, mut right) = ([0], [0]);
        let mut next = |lane: &Self| {
            let (salt_left, salt_right) = halves.next().unwrap_or_default();
            left[0] ^= salt_left;
            right[0] ^= salt_right;
            encrypt(std::array::from_ref(lane), &mut left, &mut right);
            (left[0], right[0])
        };
        for pair in 0..SUBKEYS / 2 {
            (self.subkeys[2 * pair], self.subkeys[2 * pair + 1]) = next(self);
        }
        for table in 0..BOXES {
            for pair in 0..ENTRIES / 2 {
                (self.boxes[table][2 * pair], self.boxes[table][2 * pair + 1]) = next(self);
            }
        }
    }

    /// Encrypts a block `times` times over.
    pub(crate) fn encrypt_repeatedly(&self, block: (u32, u32), times: u32) -> (u32, u32) {
        let (mut left, mut right) = ([block.0], [block.1]);
        for _ in 0..times {
            encrypt(std::array::from_ref(self), &mut left, &mut right);
        }
        (left[0], right[0])
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// One step of the cost loop of every lane: an expansion with the key and one with the salt.
#[inline(never)]
pub(crate) fn iterate<const LANES: usize>(lanes: &mut [Lane; LANES]) {
    for lane in &mut *lanes {
        for (subkey, key) in lane.subkeys.iter_mut().zip(lane.key) {
            *subkey ^= key;
        }
    }
    expand(lanes);
    for lane in &mut *lanes {
        for (subkey, salt) in lane.subkeys.iter_mut().zip(lane.salt) {
            *subkey ^= salt;
        }
    }
    expand(lanes);
}

/// Replaces every word of the lanes by what their ciphers make of a block of zeros.
#[inline(always)]
fn expand<const LANES: usize>(lanes: &mut [Lane; LANES]) {
    let mut left = [0; LANES];
    let mut right = [0; LANES];
    for pair in 0..SUBKEYS / 2 {
        encrypt(lanes, &mut left, &mut right);
        for n in 0..LANES {
            lanes[n].subkeys[2 * pair] = left[n];
            lanes[n].subkeys[2 * pair + 1] = right[n];
        }
    }
    for table in 0..BOXES {
        for pair in 0..ENTRIES / 2 {
            encrypt(lanes, &mut left, &mut right);
            for n in 0..LANES {
                lanes[n].boxes[table][2 * pair] = left[n];
                lanes[n].boxes[table][2 * pair + 1] = right[n];
            }
        }
    }
}

/// Encrypts a block of each lane.
#[inline(always)]
fn encrypt<const LANES: usize>(
    lanes: &[Lane; LANES],
    left: &mut [u32; LANES],
    right: &mut [u32; LANES],
) {
    for n in 0..LANES {
        left[n] ^= lanes[n].subkeys[0];
    }
    macro_rules! two_rounds {
        ($($pair:literal)*) => {$(
            for n in 0..LANES {
                right[n] = (right[n] ^ lanes[n].subkeys[2 * $pair + 1]) ^ feistel(&lanes[n], left[n]);
            }
            for n in 0..LANES {
                left[n] = (left[n] ^ lanes[n].subkeys[2 * $pair + 2]) ^ feistel(&lanes[n], right[n]);
            }
        )*};
    }
    two_rounds!(0 1 2 3 4 5 6 7);
    // Word by word: an exchange of the arrays would have the compiler pack two words into one register.
    for n in 0..LANES {
        let last = right[n] ^ lanes[n].subkeys[SUBKEYS - 1];
        right[n] = left[n];
        left[n] = last;
    }
}

/// The round function. Bytes are taken in the order of the machine most common, where that costs nothing.
#[inline(always)]
fn feistel(lane: &Lane, half: u32) -> u32 {
    let [d, c, b, a] = half.to_le_bytes();
    let [first, second, third, fourth] = &lane.boxes;
    (first[usize::from(a)].wrapping_add(second[usize::from(b)]) ^ third[usize::from(c)])
        .wrapping_add(fourth[usize::from(d)])
}
