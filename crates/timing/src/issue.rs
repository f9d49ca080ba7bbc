//! Ports and schedulers of a core: when a micro-op issues, and until then takes room.
//!
//! Micro-ops come in program order, each with the cycle from which it could issue; a younger one may
//! find an earlier free cycle than an older. Cycles up to [`SPAN`] ahead are kept track of.

use crate::decoded::{KINDS, Kind, Unit};

/// Cycles that the tables look ahead.
pub(crate) const SPAN: u64 = 1 << 14;
const MASK: u64 = SPAN - 1;

/// The three schedulers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Pool {
    Operations,
    Loads,
    Stores,
}

/// What was booked for a micro-op, to be given back if it is squashed before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Booking {
    pub cycle: u64,
    pub port: u8,
    pub pool: u8,
}

/// Nothing to give back.
pub(crate) const NO_PORT: u8 = 255;

/// Per cycle: which ports are taken, how many rename slots are, and how many entries of each
/// scheduler become free.
pub(crate) struct Issue {
    /// The first cycle that is still of interest.
    base: u64,
    ports: Vec<u16>,
    slots: Vec<u8>,
    leaving: Vec<[u16; 3]>,
    occupied: [u32; 3],
    sizes: [u32; 3],
    pool_of: [usize; 3],
    /// For each set of free ports, the one to take.
    choice: Vec<u8>,
    /// Until when the unit of each kind is busy.
    busy: [u64; KINDS],
    width: u8,
    in_order: bool,
    last: u64,
}

impl Issue {
    pub fn new(p: &crate::parameters::Parameters, units: &[Unit; KINDS]) -> Issue {
        let mut popularity = [0u32; 16];
        for unit in units {
            for (port, count) in popularity.iter_mut().enumerate() {
                // A unit with few ports needs each of them more.
                if unit.ports >> port & 1 != 0 {
                    *count += 60 / unit.ports.count_ones();
                }
            }
        }
        let choice = (0..=u16::MAX)
            .map(|mask| {
                (0..16u8)
                    .filter(|port| mask >> port & 1 != 0)
                    .min_by_key(|&port| (popularity[port as usize], std::cmp::Reverse(port)))
                    .unwrap_or(NO_PORT)
            })
            .collect();
        let shared = |entries: u64| entries == 0;
        Issue {
            base: 0,
            ports: vec![0; SPAN as usize],
            slots: vec![0; SPAN as usize],
            leaving: vec![[0; 3]; SPAN as usize],
            occupied: [0; 3],
            sizes: [
                p.scheduler as u32,
                p.load_scheduler as u32,
                p.store_scheduler as u32,
            ],
            pool_of: [
                0,
                if shared(p.load_scheduler) { 0 } else { 1 },
                if shared(p.store_scheduler) { 0 } else { 2 },
            ],
            choice,
            busy: [0; KINDS],
            width: p.rename_width as u8,
            in_order: p.in_order != 0,
            last: 0,
        }
    }

    /// No thread will ask about cycles before `cycle` any more.
    #[inline]
    pub fn advance(&mut self, cycle: u64) {
        if cycle <= self.base {
            return;
        }
        let steps = (cycle - self.base).min(SPAN);
        for n in 0..steps {
            let at = ((self.base + n) & MASK) as usize;
            self.ports[at] = 0;
            self.slots[at] = 0;
            let leaving = &mut self.leaving[at];
            if *leaving != [0; 3] {
                for (occupied, count) in self.occupied.iter_mut().zip(leaving.iter_mut()) {
                    *occupied -= u32::from(std::mem::take(count));
                }
            }
        }
        self.base = cycle;
    }

    /// A rename slot at `cycle` or later: the cycle.
    #[inline]
    pub fn slot(&mut self, cycle: u64) -> u64 {
        let mut at = cycle.max(self.base);
        loop {
            if at >= self.base + SPAN {
                return at;
            }
            let used = &mut self.slots[(at & MASK) as usize];
            if *used < self.width {
                *used += 1;
                return at;
            }
            at += 1;
        }
    }

    /// When a scheduler has room, from `cycle` on.
    #[inline]
    pub fn room(&mut self, pool: Pool, cycle: u64) -> u64 {
        let pool = self.pool_of[pool as usize];
        if self.occupied[pool] < self.sizes[pool] {
            return cycle;
        }
        // Entries that leave before `cycle` are still counted: look at what is left then.
        let mut left = self.occupied[pool];
        let mut at = self.base;
        while at < self.base + SPAN && (at < cycle || left >= self.sizes[pool]) {
            left -= u32::from(self.leaving[(at & MASK) as usize][pool]);
            at += 1;
        }
        at.max(cycle)
    }

    /// Issues a micro-op on a unit of `kind`, not before `ready`; it is in `pool` until then.
    #[inline]
    pub fn book(&mut self, kind: Kind, unit: &Unit, ready: u64, pool: Pool) -> Booking {
        let mut at = ready.max(self.base);
        if self.in_order {
            at = at.max(self.last);
        }
        if unit.busy > 1 {
            at = at.max(self.busy[kind as usize]);
        }
        let limit = self.base + SPAN;
        let mut port = NO_PORT;
        while at < limit {
            let taken = &mut self.ports[(at & MASK) as usize];
            let free = unit.ports & !*taken;
            if free != 0 {
                port = self.choice[free as usize];
                *taken |= 1 << port;
                break;
            }
            at += 1;
        }
        if unit.busy > 1 {
            self.busy[kind as usize] = at + u64::from(unit.busy);
        }
        self.last = at;
        let pool = self.pool_of[pool as usize];
        let leaves = at.min(limit - 1);
        self.leaving[(leaves & MASK) as usize][pool] += 1;
        self.occupied[pool] += 1;
        Booking {
            cycle: leaves,
            port,
            pool: pool as u8,
        }
    }

    /// A second port of the same micro-op (store data): the cycle, no scheduler entry.
    #[inline]
    pub fn book_port(&mut self, ports: u16, ready: u64) -> u64 {
        let mut at = ready.max(self.base);
        while at < self.base + SPAN {
            let taken = &mut self.ports[(at & MASK) as usize];
            let free = ports & !*taken;
            if free != 0 {
                *taken |= 1 << self.choice[free as usize];
                break;
            }
            at += 1;
        }
        at
    }

    /// The micro-op behind a booking was squashed at `cycle`.
    #[inline]
    pub fn give_back(&mut self, booking: &Booking, cycle: u64) {
        if booking.cycle <= cycle || booking.cycle < self.base {
            return;
        }
        let at = (booking.cycle & MASK) as usize;
        if booking.port != NO_PORT {
            self.ports[at] &= !(1 << booking.port);
        }
        let pool = booking.pool as usize;
        if self.leaving[at][pool] > 0 {
            self.leaving[at][pool] -= 1;
            self.occupied[pool] -= 1;
        }
    }

    /// After a squash at `cycle`: order and dividers start over.
    pub fn squashed(&mut self, cycle: u64) {
        self.last = self.last.min(cycle);
        for busy in &mut self.busy {
            *busy = (*busy).min(cycle + 20);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Description;
    use crate::decoded::units;

    #[test]
    fn five_integer_operations_issue_per_cycle() {
        let p = Description::shipped("spr").unwrap().parameters();
        let units = units(&p);
        let mut issue = Issue::new(&p, &units);
        let unit = &units[Kind::Integer as usize];
        let cycles: Vec<u64> = (0..11)
            .map(|_| issue.book(Kind::Integer, unit, 7, Pool::Operations).cycle)
            .collect();
        assert_eq!(cycles, [7, 7, 7, 7, 7, 8, 8, 8, 8, 8, 9]);
    }

    #[test]
    fn a_full_scheduler_has_room_when_something_issues() {
        let p = Description::shipped("spr").unwrap().parameters();
        let units = units(&p);
        let mut issue = Issue::new(&p, &units);
        let unit = &units[Kind::Multiply as usize];
        let mut last = Booking {
            cycle: 0,
            port: 0,
            pool: 0,
        };
        for _ in 0..p.scheduler {
            last = issue.book(Kind::Multiply, unit, 50, Pool::Operations);
        }
        assert_eq!(last.cycle, 50 + p.scheduler - 1);
        assert_eq!(issue.room(Pool::Operations, 10), 51);
        issue.give_back(&last, 20);
        assert_eq!(issue.room(Pool::Operations, 10), 10);
    }
}
