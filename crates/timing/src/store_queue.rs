//! Stores from their execution until they become visible.
//!
//! A store enters when it is executed (speculatively, in fetch order), leaves the end of the queue
//! when it is squashed, and its front when it has retired and its line is owned. Loads of the same
//! thread look here first.

/// Entries; more than any machine has, a power of two.
const CAPACITY: usize = 1024;
/// Counters that tell most loads that nothing here concerns them.
const FILTER: usize = 2048;

/// Not known yet.
pub(crate) const UNKNOWN: u64 = u64::MAX;

/// One store of at most 16 bytes within one page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Store {
    /// Where in RAM.
    pub offset: u64,
    pub data: [u8; 16],
    pub size: u8,
    /// When its address is known.
    pub address_ready: u64,
    /// When its value is known.
    pub data_ready: u64,
    /// When its instruction retires.
    pub retires: u64,
    /// When it becomes visible.
    pub drains: u64,
}

const EMPTY: Store = Store {
    offset: 0,
    data: [0; 16],
    size: 0,
    address_ready: 0,
    data_ready: 0,
    retires: 0,
    drains: 0,
};

/// A thread's stores.
#[derive(Clone, Debug)]
pub(crate) struct StoreQueue {
    entries: Vec<Store>,
    /// Number of the oldest store that is still here.
    head: u64,
    /// Number of the oldest store whose line has not been asked for.
    pub to_own: u64,
    /// Number of the next store.
    tail: u64,
    filter: Vec<u16>,
}

#[inline(always)]
fn bucket(offset: u64) -> usize {
    (offset >> 3) as usize & (FILTER - 1)
}

impl StoreQueue {
    pub fn new() -> StoreQueue {
        StoreQueue {
            entries: vec![EMPTY; CAPACITY],
            head: 0,
            to_own: 0,
            tail: 0,
            filter: vec![0; FILTER],
        }
    }

    #[inline(always)]
    pub fn head(&self) -> u64 {
        self.head
    }

    #[inline(always)]
    pub fn tail(&self) -> u64 {
        self.tail
    }

    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    pub fn is_full(&self) -> bool {
        self.tail - self.head >= CAPACITY as u64 - 4
    }

    #[inline(always)]
    pub fn get(&mut self, number: u64) -> &mut Store {
        &mut self.entries[number as usize & (CAPACITY - 1)]
    }

    fn count(&mut self, store: &Store, add: bool) {
        let first = bucket(store.offset);
        let last = bucket(store.offset + u64::from(store.size) - 1);
        let step = |counter: &mut u16| {
            if add { *counter += 1 } else { *counter -= 1 }
        };
        step(&mut self.filter[first]);
        if last != first {
            step(&mut self.filter[last]);
            let middle = (first + 1) & (FILTER - 1);
            if middle != last {
                step(&mut self.filter[middle]);
            }
        }
    }

    #[inline]
    pub fn push(&mut self, offset: u64, bytes: &[u8]) {
        debug_assert!(!self.is_full() || self.tail - self.head < CAPACITY as u64);
        let mut store = Store {
            offset,
            size: bytes.len() as u8,
            address_ready: UNKNOWN,
            data_ready: UNKNOWN,
            retires: UNKNOWN,
            drains: UNKNOWN,
            ..EMPTY
        };
        store.data[..bytes.len()].copy_from_slice(bytes);
        self.count(&store, true);
        self.entries[self.tail as usize & (CAPACITY - 1)] = store;
        self.tail += 1;
    }

    /// Forgets the youngest stores, down to number `tail`.
    pub fn squash(&mut self, tail: u64) {
        while self.tail > tail {
            self.tail -= 1;
            let store = *self.get(self.tail);
            self.count(&store, false);
        }
        self.to_own = self.to_own.min(tail);
    }

    /// Takes the oldest store out.
    pub fn pop(&mut self) -> Store {
        debug_assert!(!self.is_empty());
        let store = *self.get(self.head);
        self.count(&store, false);
        self.head += 1;
        self.to_own = self.to_own.max(self.head);
        store
    }

    /// Whether some store could concern these bytes.
    #[inline(always)]
    pub fn may_hold(&self, offset: u64, length: u64) -> bool {
        if self.is_empty() {
            return false;
        }
        let first = bucket(offset);
        let last = bucket(offset + length - 1);
        let middle = (first + 1) & (FILTER - 1);
        self.filter[first] != 0
            || (last != first && (self.filter[last] != 0 || self.filter[middle] != 0))
    }

    /// Puts what is here over `bytes`, just read from RAM at `offset`. Returns the youngest store
    /// that concerns them, and whether it has them all.
    pub fn overlay(&self, offset: u64, bytes: &mut [u8]) -> Option<(u64, bool)> {
        let end = offset + bytes.len() as u64;
        let mut youngest = None;
        for number in self.head..self.tail {
            let store = &self.entries[number as usize & (CAPACITY - 1)];
            let store_end = store.offset + u64::from(store.size);
            if store.offset >= end || store_end <= offset {
                continue;
            }
            let first = store.offset.max(offset);
            let last = store_end.min(end);
            bytes[(first - offset) as usize..(last - offset) as usize].copy_from_slice(
                &store.data[(first - store.offset) as usize..(last - store.offset) as usize],
            );
            youngest = Some((number, store.offset <= offset && store_end >= end));
        }
        youngest
    }

    /// Whether a store into this page of RAM is here.
    pub fn touches_page(&self, offset: u64) -> bool {
        (self.head..self.tail)
            .any(|n| self.entries[n as usize & (CAPACITY - 1)].offset >> 12 == offset >> 12)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_sees_the_youngest_of_each_byte() {
        let mut queue = StoreQueue::new();
        queue.push(0x100, &[1, 1, 1, 1]);
        queue.push(0x102, &[2, 2]);
        assert!(queue.may_hold(0x100, 4) && !queue.may_hold(0x200, 8));
        let mut bytes = [0; 8];
        assert_eq!(queue.overlay(0xfe, &mut bytes), Some((1, false)));
        assert_eq!(bytes, [0, 0, 1, 1, 2, 2, 0, 0]);
        assert_eq!(queue.overlay(0x103, &mut bytes[..1]), Some((1, true)));
        queue.squash(1);
        let mut bytes = [0; 4];
        assert_eq!(queue.overlay(0x100, &mut bytes), Some((0, true)));
        assert_eq!(bytes, [1; 4]);
        assert_eq!(queue.pop().offset, 0x100);
        assert!(queue.is_empty() && !queue.may_hold(0x100, 4));
    }
}
