//! Where fetch goes: direction, targets, returns.
//!
//! Directions come from a base table of two-bit counters and five tagged tables that are indexed with
//! geometrically longer histories, the longest match deciding (Seznec and Michaud, "A case for
//! (partially) TAgged GEometric history length branch prediction", 2006); without its loop predictor
//! and statistical corrector. Indirect targets come from a table indexed with history, returns from a
//! stack. Histories and the stack are speculative and restored after a squash; the tables learn from
//! the right path alone.

use crate::parameters::Parameters;

const TABLES: usize = 5;
/// How many branches each tagged table looks back.
const LENGTHS: [u32; TABLES] = [5, 12, 28, 60, 120];

/// What squashes restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// Directions and some bits of targets, the latest in bit 0.
    bits: u128,
    /// Position of the top of the return stack, and what is there.
    top: u32,
    top_value: u64,
}

impl History {
    /// What it becomes after a branch that went `taken`.
    pub fn with_direction(mut self, taken: bool) -> History {
        self.bits = self.bits << 1 | u128::from(taken);
        self
    }
}

/// What a prediction was based on, to learn from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guess {
    pub taken: bool,
    provider: Option<usize>,
    alternative: bool,
    index: [u32; TABLES],
    tag: [u16; TABLES],
    base: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tagged {
    tag: u16,
    /// -4 to 3; taken from 0 on.
    counter: i8,
    useful: u8,
}

#[derive(Clone, Copy, Debug, Default)]
struct Target {
    pc: u64,
    target: u64,
}

/// A thread's part.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub history: History,
    stack: Vec<u64>,
}

impl Path {
    pub fn new(p: &Parameters) -> Path {
        Path {
            history: History::default(),
            stack: vec![0; p.return_stack as usize],
        }
    }

    /// What to restore after a squash.
    #[inline]
    pub fn save(&self) -> History {
        self.history
    }

    #[inline]
    pub fn restore(&mut self, saved: History) {
        self.history = saved;
        let size = self.stack.len();
        self.stack[saved.top as usize % size] = saved.top_value;
    }

    pub fn call(&mut self, return_address: u64) {
        let size = self.stack.len();
        self.history.top = (self.history.top + 1) % size as u32;
        self.stack[self.history.top as usize] = return_address;
        self.history.top_value = return_address;
    }

    pub fn pop(&mut self) -> u64 {
        let size = self.stack.len();
        let value = self.stack[self.history.top as usize % size];
        self.history.top = (self.history.top + size as u32 - 1) % size as u32;
        self.history.top_value = self.stack[self.history.top as usize];
        value
    }

    #[inline]
    pub fn direction(&mut self, taken: bool) {
        self.history = self.history.with_direction(taken);
    }

    #[inline]
    pub fn target(&mut self, target: u64) {
        let bits = (target >> 2 ^ target >> 7) & 3;
        self.history.bits = self.history.bits << 2 | u128::from(bits);
    }
}

/// A core's tables.
#[derive(Clone, Debug)]
pub(crate) struct Predictor {
    base: Vec<i8>,
    tagged: [Vec<Tagged>; TABLES],
    targets: Vec<Target>,
    target_ways: usize,
    indirect: Vec<Target>,
    random: u32,
}

#[inline(always)]
fn mix(value: u64) -> u64 {
    let value = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value ^ value >> 32
}

#[inline(always)]
fn fold(bits: u128, length: u32) -> u64 {
    let kept = bits & (u128::MAX >> (128 - length));
    mix(kept as u64) ^ (kept >> 64) as u64
}

impl Predictor {
    pub fn new(p: &Parameters) -> Predictor {
        let table = || vec![Tagged::default(); p.tagged_entries as usize];
        Predictor {
            base: vec![0; p.base_entries as usize],
            tagged: [table(), table(), table(), table(), table()],
            targets: vec![Target::default(); p.target_entries as usize],
            target_ways: p.target_ways as usize,
            indirect: vec![Target::default(); p.indirect_entries as usize],
            random: 0x1234_5678,
        }
    }

    /// The direction of the conditional branch at `pc`.
    #[inline]
    pub fn predict(&self, pc: u64, path: &Path) -> Guess {
        let base = (pc ^ pc >> 14) as usize & (self.base.len() - 1);
        let mut guess = Guess {
            taken: self.base[base] >= 0,
            provider: None,
            alternative: self.base[base] >= 0,
            index: [0; TABLES],
            tag: [0; TABLES],
            base,
        };
        let mask = self.tagged[0].len() as u64 - 1;
        for (n, &length) in LENGTHS.iter().enumerate() {
            let hash = mix(
                fold(path.history.bits, length).wrapping_add(pc.wrapping_mul(2 * n as u64 + 3))
            );
            guess.index[n] = (hash & mask) as u32;
            guess.tag[n] = (hash >> 40) as u16 & 0xfff | 0x1000;
        }
        for n in (0..TABLES).rev() {
            let entry = &self.tagged[n][guess.index[n] as usize];
            if entry.tag == guess.tag[n] {
                if guess.provider.is_none() {
                    guess.provider = Some(n);
                    guess.taken = entry.counter >= 0;
                } else {
                    guess.alternative = entry.counter >= 0;
                    break;
                }
            }
        }
        guess
    }

    /// The branch behind `guess` went `taken`.
    #[inline]
    pub fn learn(&mut self, guess: &Guess, taken: bool) {
        let step = |counter: i8, low: i8, high: i8| {
            if taken {
                (counter + 1).min(high)
            } else {
                (counter - 1).max(low)
            }
        };
        match guess.provider {
            Some(n) => {
                let entry = &mut self.tagged[n][guess.index[n] as usize];
                entry.counter = step(entry.counter, -4, 3);
                if guess.taken != guess.alternative {
                    entry.useful = if guess.taken == taken {
                        (entry.useful + 1).min(3)
                    } else {
                        entry.useful.saturating_sub(1)
                    };
                }
            }
            None => self.base[guess.base] = step(self.base[guess.base], -2, 1),
        }
        if guess.taken != taken {
            self.allocate(guess, taken);
        }
    }

    fn allocate(&mut self, guess: &Guess, taken: bool) {
        let mut start = guess.provider.map_or(0, |n| n + 1);
        // One time in four a longer history than the next one, so that not all crowd into it.
        self.random = self
            .random
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        if self.random >> 30 == 0 {
            start += 1;
        }
        for n in start..TABLES {
            let entry = &mut self.tagged[n][guess.index[n] as usize];
            if entry.useful == 0 {
                *entry = Tagged {
                    tag: guess.tag[n],
                    counter: if taken { 0 } else { -1 },
                    useful: 0,
                };
                return;
            }
        }
        for n in start..TABLES {
            let entry = &mut self.tagged[n][guess.index[n] as usize];
            entry.useful = entry.useful.saturating_sub(1);
        }
    }

    fn target_set(&self, pc: u64) -> usize {
        let sets = self.targets.len() / self.target_ways;
        ((pc ^ pc >> 13) as usize % sets) * self.target_ways
    }

    /// What the branch target buffer knows of the branch at `pc`.
    #[inline]
    pub fn target(&self, pc: u64) -> Option<u64> {
        let first = self.target_set(pc);
        self.targets[first..first + self.target_ways]
            .iter()
            .find(|t| t.pc == pc)
            .map(|t| t.target)
    }

    /// The branch at `pc` went to `target`.
    pub fn learn_target(&mut self, pc: u64, target: u64) {
        let first = self.target_set(pc);
        let set = &mut self.targets[first..first + self.target_ways];
        // The set is kept in order of use.
        let at = set.iter().position(|t| t.pc == pc).unwrap_or(set.len() - 1);
        set[..=at].rotate_right(1);
        set[0] = Target { pc, target };
    }

    fn indirect_index(&self, pc: u64, history: &History) -> usize {
        let hash = mix(pc ^ fold(history.bits, 24));
        hash as usize & (self.indirect.len() - 1)
    }

    /// The target of the indirect branch at `pc`.
    pub fn indirect(&self, pc: u64, path: &Path) -> Option<u64> {
        let entry = &self.indirect[self.indirect_index(pc, &path.history)];
        if entry.pc == pc {
            Some(entry.target)
        } else {
            self.target(pc)
        }
    }

    /// The indirect branch at `pc`, with this history before it, went to `target`.
    pub fn learn_indirect(&mut self, pc: u64, history: &History, target: u64) {
        let at = self.indirect_index(pc, history);
        self.indirect[at] = Target { pc, target };
        self.learn_target(pc, target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Description;

    fn new() -> (Predictor, Path) {
        let p = Description::shipped("spr").unwrap().parameters();
        (Predictor::new(&p), Path::new(&p))
    }

    fn misses(pattern: impl Fn(u64) -> bool, rounds: u64) -> u64 {
        let (mut predictor, mut path) = new();
        let mut misses = 0;
        for n in 0..rounds {
            let taken = pattern(n);
            let guess = predictor.predict(0x40_1234, &path);
            if n >= rounds / 2 {
                misses += u64::from(guess.taken != taken);
            }
            predictor.learn(&guess, taken);
            path.direction(taken);
        }
        misses
    }

    #[test]
    fn patterns_within_the_history_are_learnt() {
        assert_eq!(misses(|_| true, 200), 0);
        assert_eq!(misses(|n| n % 2 == 0, 2000), 0);
        assert!(misses(|n| n % 7 == 3, 4000) < 4);
        assert!(misses(|n| n % 41 == 40, 20_000) < 40);
        // Noise is not.
        assert!(misses(|n| mix(mix(n)) >> 40 & 1 != 0, 4000) > 700);
    }

    #[test]
    fn returns_go_where_calls_came_from_also_after_a_squash() {
        let (_, mut path) = new();
        path.call(0x100);
        path.call(0x200);
        let saved = path.save();
        assert_eq!(path.pop(), 0x200);
        path.call(0x300);
        path.restore(saved);
        assert_eq!(path.pop(), 0x200);
        assert_eq!(path.pop(), 0x100);
    }
}
