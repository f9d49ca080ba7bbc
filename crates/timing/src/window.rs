//! The window: reorder buffer, load queue, physical registers, and what is needed to undo what is in
//! them. Retirement in order.

use crate::issue::{Booking, Issue};
use crate::parameters::Parameters;
use crate::predictor::History;

/// Records kept: those that can be undone, and as many that have been and may be written over.
const RECORDS: usize = 2048;
/// Instructions that can be undone at most: twice the largest reorder buffer, as fused pairs share an
/// entry.
const UNDOABLE: u64 = 1024;
/// Entries of each ring of cycles; a power of two, as large as the largest structure.
const RING: usize = 2048;
/// Bookings that can be given back.
const BOOKINGS: usize = 8192;

/// Everything that a squash restores, as it was right before an instruction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Point {
    pub rip: u64,
    pub undo: u64,
    pub stores: u64,
    pub executed: u64,
    pub history: History,
    slots: u64,
    loads: u64,
    integers: u64,
    vectors: u64,
    bookings: u64,
    retired: u64,
    retired_in_cycle: u64,
}

/// An instruction in flight.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Record {
    pub point: Point,
    pub dispatched: u64,
    pub retires: u64,
}

/// A ring of cycles: when the entry that the n-th user of a structure took becomes free.
#[derive(Clone, Debug)]
struct Ring {
    free: Vec<u64>,
    next: u64,
    size: u64,
}

impl Ring {
    fn new(size: u64) -> Ring {
        Ring {
            free: vec![0; RING],
            next: 0,
            size,
        }
    }

    /// When there is room for one more.
    #[inline(always)]
    fn room(&self, share: u64) -> u64 {
        let size = self.size / share;
        if self.next < size {
            return 0;
        }
        self.free[(self.next - size) as usize & (RING - 1)]
    }

    #[inline(always)]
    fn take(&mut self) {
        // Until it is known: never.
        self.free[self.next as usize & (RING - 1)] = u64::MAX;
        self.next += 1;
    }

    #[inline(always)]
    fn free_from(&mut self, first: u64, cycle: u64) {
        for n in first..self.next {
            self.free[n as usize & (RING - 1)] = cycle;
        }
    }
}

/// See the module.
pub(crate) struct Window {
    reorder: Ring,
    loads: Ring,
    integers: Ring,
    vectors: Ring,
    /// When each micro-op was dispatched, to know when the queue before rename has room.
    dispatched: Vec<u64>,
    queue: u64,
    records: Vec<Record>,
    next_record: u64,
    /// The oldest record that can be undone.
    first_record: u64,
    bookings: Vec<Booking>,
    next_booking: u64,
    retired: u64,
    retired_in_cycle: u64,
    retire_width: u64,
    /// Where the entries of the current instruction begin.
    instruction: [u64; 4],
}

impl Window {
    pub fn new(p: &Parameters) -> Window {
        Window {
            reorder: Ring::new(p.reorder_buffer),
            loads: Ring::new(p.load_queue),
            integers: Ring::new(p.integer_registers - 16),
            vectors: Ring::new(p.vector_registers - 16),
            dispatched: vec![0; RING],
            queue: p.queue,
            records: vec![Record::default(); RECORDS],
            next_record: 0,
            first_record: 0,
            bookings: vec![
                Booking {
                    cycle: 0,
                    port: 0,
                    pool: 0
                };
                BOOKINGS
            ],
            next_booking: 0,
            retired: 0,
            retired_in_cycle: 0,
            retire_width: p.retire_width,
            instruction: [0; 4],
        }
    }

    #[inline(always)]
    pub fn reorder_room(&self, share: u64) -> u64 {
        self.reorder.room(share)
    }

    #[inline(always)]
    pub fn load_room(&self, share: u64) -> u64 {
        self.loads.room(share)
    }

    #[inline(always)]
    pub fn integer_room(&self) -> u64 {
        self.integers.room(1)
    }

    #[inline(always)]
    pub fn vector_room(&self) -> u64 {
        self.vectors.room(1)
    }

    /// When the queue before rename has room for one more.
    #[inline(always)]
    pub fn queue_room(&self) -> u64 {
        let number = self.reorder.next;
        if number < self.queue {
            return 0;
        }
        self.dispatched[(number - self.queue) as usize & (RING - 1)]
    }

    /// A micro-op takes its entry of the reorder buffer at `cycle`.
    #[inline(always)]
    pub fn enter(&mut self, cycle: u64) {
        self.dispatched[self.reorder.next as usize & (RING - 1)] = cycle;
        self.reorder.take();
    }

    #[inline(always)]
    pub fn take_load(&mut self) {
        self.loads.take();
    }

    #[inline(always)]
    pub fn take_integer(&mut self) {
        self.integers.take();
    }

    #[inline(always)]
    pub fn take_vector(&mut self) {
        self.vectors.take();
    }

    #[inline(always)]
    pub fn note_booking(&mut self, booking: Booking) {
        self.bookings[self.next_booking as usize & (BOOKINGS - 1)] = booking;
        self.next_booking += 1;
    }

    /// The instruction, of so many slots, has completed at `completed`: when it retires.
    #[inline]
    pub fn retire(&mut self, completed: u64, slots: u64) -> u64 {
        let from = completed + 1;
        if from > self.retired {
            self.retired = from;
            self.retired_in_cycle = 0;
        }
        self.retired_in_cycle += slots;
        while self.retired_in_cycle > self.retire_width {
            self.retired_in_cycle -= self.retire_width;
            self.retired += 1;
        }
        let at = self.retired;
        let [a, b, c, d] = self.instruction;
        self.reorder.free_from(a, at);
        self.loads.free_from(b, at);
        self.integers.free_from(c, at);
        self.vectors.free_from(d, at);
        self.mark_instruction();
        at
    }

    fn mark_instruction(&mut self) {
        self.instruction = [
            self.reorder.next,
            self.loads.next,
            self.integers.next,
            self.vectors.next,
        ];
    }

    /// The cycle of the latest retirement: the window is empty then.
    #[inline(always)]
    pub fn retired(&self) -> u64 {
        self.retired
    }

    /// Nothing retires before `cycle`.
    pub fn retire_not_before(&mut self, cycle: u64) {
        if cycle > self.retired {
            self.retired = cycle;
            self.retired_in_cycle = 0;
        }
    }

    /// Slots entered so far.
    pub fn slots(&self) -> u64 {
        self.reorder.next
    }

    #[inline(always)]
    pub fn next_record(&self) -> u64 {
        self.next_record
    }

    #[inline(always)]
    pub fn push(&mut self, record: Record) {
        self.records[self.next_record as usize & (RECORDS - 1)] = record;
        self.next_record += 1;
        self.first_record = self
            .first_record
            .max(self.next_record.saturating_sub(UNDOABLE));
    }

    /// Where the next instruction begins; the rest of the point is the thread's.
    #[inline(always)]
    pub fn point(&self) -> Point {
        Point {
            slots: self.reorder.next,
            loads: self.loads.next,
            integers: self.integers.next,
            vectors: self.vectors.next,
            bookings: self.next_booking,
            retired: self.retired,
            retired_in_cycle: self.retired_in_cycle,
            ..Point::default()
        }
    }

    /// Undoes the entries from `point` on; how many slots that were.
    pub fn roll_back(&mut self, point: &Point, record: u64, cycle: u64, issue: &mut Issue) -> u64 {
        let slots = self.reorder.next - point.slots;
        for n in point.bookings..self.next_booking {
            let booking = self.bookings[n as usize & (BOOKINGS - 1)];
            issue.give_back(&booking, cycle);
        }
        self.next_booking = point.bookings;
        self.reorder.next = point.slots;
        self.loads.next = point.loads;
        self.integers.next = point.integers;
        self.vectors.next = point.vectors;
        self.retired = point.retired;
        self.retired_in_cycle = point.retired_in_cycle;
        self.next_record = record;
        self.mark_instruction();
        slots
    }

    /// The first instruction in flight for which `condition` holds, and its number.
    pub fn find(&self, condition: impl Fn(&Record) -> bool) -> Option<(u64, Record)> {
        (self.first_record..self.next_record)
            .map(|n| (n, self.records[n as usize & (RECORDS - 1)]))
            .find(|(_, record)| condition(record))
    }

    /// What is in flight now can no longer be undone.
    pub fn forget(&mut self) {
        self.first_record = self.next_record;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Description;

    #[test]
    fn what_was_undone_is_not_found_again() {
        let p = Description::shipped("spr").unwrap().parameters();
        let mut window = Window::new(&p);
        let units = crate::decoded::units(&p);
        let mut issue = Issue::new(&p, &units);
        for n in 0..5000 {
            let point = window.point();
            let retires = window.retire(n, 1);
            window.push(Record {
                point,
                dispatched: n,
                retires,
            });
        }
        let (number, record) = window.find(|r| r.retires > 4800).unwrap();
        window.roll_back(&record.point, number, 4800, &mut issue);
        assert!(window.find(|r| r.retires > 4800).is_none());
        assert_eq!(window.next_record(), number);
    }

    #[test]
    fn retirement_is_in_order_and_as_wide_as_it_is() {
        let p = Description::shipped("spr").unwrap().parameters();
        let mut window = Window::new(&p);
        assert_eq!(window.retire(100, 1), 101);
        let cycles: Vec<u64> = (0..9).map(|_| window.retire(5, 1)).collect();
        assert_eq!(cycles, [101, 101, 101, 101, 101, 101, 101, 102, 102]);
    }

    #[test]
    fn the_reorder_buffer_is_full_until_its_oldest_entry_retires() {
        let p = Description::shipped("spr").unwrap().parameters();
        let mut window = Window::new(&p);
        for n in 0..p.reorder_buffer {
            assert_eq!(window.reorder_room(1), 0);
            window.enter(n);
            window.retire(1000 + n, 1);
        }
        assert_eq!(window.reorder_room(1), 1001);
        assert_eq!(window.reorder_room(2), 1001 + p.reorder_buffer / 2);
    }
}
