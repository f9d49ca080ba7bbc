//! The split virtqueue against rings written by hand. VIRTIO 1.2, "Split Virtqueues".

use super::*;
use crate::driver::{Descriptor, Dice, INDIRECT, Memory, NEXT, Ring, WRITE};

const ALL: u64 = feature::INDIRECT_DESC | feature::EVENT_IDX;

fn queue(size: u16) -> (Queue, Ring, Memory) {
    let mut memory = Memory::new(1 << 20);
    let ring = Ring::allocate(&mut memory, size);
    let mut queue = Queue::new(256);
    let state = queue.state_mut();
    state.size = size;
    state.descriptors = ring.descriptors;
    state.driver = ring.available;
    state.device = ring.used;
    assert_eq!(queue.set_up_fault(), None);
    queue.enable();
    queue.begin_service();
    (queue, ring, memory)
}

fn buffer(address: u64, length: u32, flags: u16, next: u16) -> Descriptor {
    Descriptor {
        address,
        length,
        flags,
        next,
    }
}

/// Puts descriptors at 0, 1, ... and takes the chain that starts at 0.
fn take(descriptors: &[Descriptor], features: u64) -> Result<Chain, RingError> {
    let (mut queue, mut ring, mut memory) = queue(8);
    for (index, &descriptor) in descriptors.iter().enumerate() {
        ring.put_descriptor(&mut memory, index as u16, descriptor);
    }
    ring.offer(&mut memory, 0);
    queue
        .pop(&mut memory, features)
        .map(|chain| chain.expect("one is available"))
}

#[test]
fn a_chain_is_its_readable_buffers_and_then_its_writable_ones() {
    let (mut queue, mut ring, mut memory) = queue(8);
    let (head, written) = ring.submit(&mut memory, &[b"abc", b"defgh"], &[4, 2]);
    let chain = queue.pop(&mut memory, 0).unwrap().unwrap();
    assert_eq!((chain.head, chain.readable.length()), (head, 8));
    let mut all = [0; 10];
    assert_eq!(chain.readable.read(&mut memory, 0, &mut all).unwrap(), 8);
    assert_eq!(&all, b"abcdefgh\0\0");
    let mut middle = [0; 4];
    assert_eq!(chain.readable.read(&mut memory, 2, &mut middle).unwrap(), 4);
    assert_eq!(&middle, b"cdef");
    assert_eq!(chain.readable.read(&mut memory, 8, &mut middle).unwrap(), 0);
    assert_eq!(chain.writable.write(&mut memory, 3, b"XYZW").unwrap(), 3);
    assert_eq!(memory.bytes(written[0], 4), b"\0\0\0X");
    assert_eq!(memory.bytes(written[1], 2), b"YZ");
    queue.complete(&mut memory, chain.head, 6).unwrap();
    assert_eq!(ring.reap(&memory), [(u32::from(head), 6)]);
    assert_eq!(queue.pop(&mut memory, 0).unwrap(), None);
}

#[test]
fn empty_buffers_are_nothing() {
    let chain = take(
        &[
            buffer(0x5000, 0, NEXT | WRITE, 1),
            buffer(0x5000, 3, NEXT, 2),
            buffer(0x6000, 0, 0, 0),
        ],
        0,
    )
    .unwrap();
    assert_eq!((chain.readable.length(), chain.writable.length()), (3, 0));
}

#[test]
fn readable_after_writable_is_refused() {
    let result = take(
        &[buffer(0x5000, 1, NEXT | WRITE, 1), buffer(0x5000, 1, 0, 0)],
        0,
    );
    assert_eq!(result, Err(RingError::Order));
}

#[test]
fn loops_and_indices_out_of_range_are_refused() {
    assert_eq!(
        take(&[buffer(0x5000, 1, NEXT, 0)], 0),
        Err(RingError::ChainTooLong)
    );
    assert_eq!(
        take(&[buffer(0x5000, 1, NEXT, 1), buffer(0x5000, 1, NEXT, 0)], 0),
        Err(RingError::ChainTooLong)
    );
    assert_eq!(
        take(&[buffer(0x5000, 1, NEXT, 8)], 0),
        Err(RingError::DescriptorIndex { index: 8, size: 8 })
    );
    let (mut queue, mut ring, mut memory) = queue(8);
    ring.offer(&mut memory, 0xffff);
    assert_eq!(
        queue.pop(&mut memory, 0),
        Err(RingError::DescriptorIndex {
            index: 0xffff,
            size: 8
        })
    );
}

#[test]
fn buffers_may_not_wrap() {
    assert!(matches!(
        take(&[buffer(u64::MAX, 2, 0, 0)], 0),
        Err(RingError::Buffer { .. })
    ));
    assert!(matches!(
        take(&[buffer(u64::MAX - 15, 32, INDIRECT, 0)], ALL),
        Err(RingError::Buffer { .. })
    ));
    // Reaching the end is not wrapping; whether there is RAM is found out on access.
    take(&[buffer(u64::MAX - 1, 1, 0, 0)], 0).unwrap();
}

#[test]
fn buffers_outside_ram_are_found_out_on_access() {
    let chain = take(
        &[
            buffer(0xfee0_0000, 4, NEXT, 1),
            buffer(0xfff0_0000, 4, WRITE, 0),
        ],
        0,
    )
    .unwrap();
    let mut memory = Memory::new(0x1000);
    assert!(matches!(
        chain.readable.read(&mut memory, 0, &mut [0; 4]),
        Err(RingError::Dma(_))
    ));
    assert!(matches!(
        chain.writable.write(&mut memory, 0, &[0; 4]),
        Err(RingError::Dma(_))
    ));
}

/// A chain through an indirect table at 0x8000 with these entries.
fn take_indirect(
    direct: &[Descriptor],
    table: &[Descriptor],
    features: u64,
) -> Result<Chain, RingError> {
    let (mut queue, mut ring, mut memory) = queue(8);
    for (index, &descriptor) in direct.iter().enumerate() {
        ring.put_descriptor(&mut memory, index as u16, descriptor);
    }
    for (index, &descriptor) in table.iter().enumerate() {
        descriptor.put(&mut memory, 0x8000 + 16 * index as u64);
    }
    ring.offer(&mut memory, 0);
    queue
        .pop(&mut memory, features)
        .map(|chain| chain.expect("one is available"))
}

#[test]
fn indirect_tables_continue_a_chain() {
    // "Indirect Descriptors": more entries than the queue has, out of order, after ordinary ones,
    // with a write flag that means nothing.
    let table: Vec<_> = (0..20u16)
        .map(|index| {
            let flags = if index >= 10 { WRITE } else { 0 };
            let last = index == 19;
            buffer(
                0x9000 + u64::from(index) * 16,
                1,
                flags | if last { 0 } else { NEXT },
                index + 1,
            )
        })
        .collect();
    let chain = take_indirect(
        &[
            buffer(0x5000, 5, NEXT, 1),
            buffer(0x8000, 20 * 16, INDIRECT | WRITE, 0),
        ],
        &table,
        ALL,
    )
    .unwrap();
    assert_eq!((chain.readable.length(), chain.writable.length()), (15, 10));
}

#[test]
fn malformed_indirect_tables_are_refused() {
    let one = [buffer(0x9000, 1, 0, 0)];
    let refused = |direct: &[Descriptor], table: &[Descriptor], features| {
        matches!(
            take_indirect(direct, table, features),
            Err(RingError::Indirect(_))
        )
    };
    assert!(refused(&[buffer(0x8000, 16, INDIRECT, 0)], &one, 0));
    assert!(refused(&[buffer(0x8000, 0, INDIRECT, 0)], &one, ALL));
    assert!(refused(&[buffer(0x8000, 17, INDIRECT, 0)], &one, ALL));
    assert!(refused(
        &[buffer(0x8000, 16, INDIRECT | NEXT, 1)],
        &one,
        ALL
    ));
    assert!(refused(
        &[buffer(0x8000, 16, INDIRECT, 0)],
        &[buffer(0x8000, 16, INDIRECT, 0)],
        ALL
    ));
    assert_eq!(
        take_indirect(
            &[buffer(0x8000, 16, INDIRECT, 0)],
            &[buffer(0x9000, 1, NEXT, 1)],
            ALL
        ),
        Err(RingError::DescriptorIndex { index: 1, size: 1 })
    );
    assert_eq!(
        take_indirect(
            &[buffer(0x8000, 32, INDIRECT, 0)],
            &[buffer(0x9000, 1, NEXT, 1), buffer(0x9000, 1, NEXT, 0)],
            ALL
        ),
        Err(RingError::ChainTooLong)
    );
    assert!(matches!(
        take_indirect(&[buffer(0x1000_0000, 16, INDIRECT, 0)], &one, ALL),
        Err(RingError::Dma(_))
    ));
}

#[test]
fn an_available_index_that_jumped_is_refused() {
    let (mut queue, ring, mut memory) = queue(8);
    memory.put16(ring.available + 2, 9);
    assert_eq!(
        queue.pop(&mut memory, 0),
        Err(RingError::AvailableIndex {
            available: 9,
            size: 8
        })
    );
    memory.put16(ring.available + 2, 0xffff);
    assert!(queue.pop(&mut memory, 0).is_err());
}

#[test]
fn a_service_takes_no_more_chains_than_the_queue_has_entries() {
    // A device that writes into its own available ring would go on for ever.
    let (mut queue, mut ring, mut memory) = queue(4);
    let mut taken = 0;
    loop {
        ring.offer(&mut memory, 0);
        let Some(chain) = queue.pop(&mut memory, 0).unwrap() else {
            break;
        };
        queue.complete(&mut memory, chain.head, 0).unwrap();
        taken += 1;
    }
    assert_eq!(taken, 4);
    queue.begin_service();
    assert!(queue.pop(&mut memory, 0).unwrap().is_some());
}

#[test]
fn no_more_chains_are_in_flight_than_the_queue_has_entries() {
    let (mut queue, mut ring, mut memory) = queue(4);
    for _ in 0..4 {
        ring.offer(&mut memory, 0);
        queue.begin_service();
        queue.pop(&mut memory, 0).unwrap().unwrap();
    }
    ring.offer(&mut memory, 0);
    queue.begin_service();
    assert_eq!(
        queue.pop(&mut memory, 0),
        Err(RingError::InFlight { size: 4 })
    );
}

#[test]
fn indices_run_on_past_16_bits() {
    let (mut queue, mut ring, mut memory) = queue(4);
    for round in 0..70_000u32 {
        ring.put_descriptor(&mut memory, 0, buffer(0x5000, 1, 0, 0));
        ring.offer(&mut memory, 0);
        queue.begin_service();
        let chain = queue.pop(&mut memory, 0).unwrap().unwrap();
        queue.complete(&mut memory, chain.head, round).unwrap();
        assert!(queue.end_service(&mut memory, 0).unwrap());
        assert_eq!(ring.reap(&memory), [(0, round)]);
    }
}

#[test]
fn the_flag_suppresses_interrupts() {
    let (mut queue, mut ring, mut memory) = queue(4);
    let mut serve = |memory: &mut Memory, completions| {
        queue.begin_service();
        for _ in 0..completions {
            ring.offer(memory, 0);
            let chain = queue.pop(memory, 0).unwrap().unwrap();
            queue.complete(memory, chain.head, 0).unwrap();
        }
        queue.end_service(memory, 0).unwrap()
    };
    assert!(serve(&mut memory, 1));
    assert!(!serve(&mut memory, 0), "nothing was handed back");
    let flags = Ring::allocate(&mut Memory::new(1 << 20), 4).available;
    memory.put16(flags, 1);
    assert!(!serve(&mut memory, 2));
    memory.put16(flags, 0);
    assert!(
        !serve(&mut memory, 0),
        "what was suppressed is not made up for"
    );
    assert!(serve(&mut memory, 1));
}

#[test]
fn the_event_index_suppresses_interrupts_and_notifications() {
    // "Used Buffer Notification Suppression": the driver is interrupted if idx passes
    // used_event: `used_event` was the index of an element just handed back.
    let mut dice = Dice(0x5eed_0002);
    let (mut queue, mut ring, mut memory) = queue(16);
    let used_event = ring.available + 4 + 2 * 16;
    let avail_event = ring.used + 4 + 8 * 16;
    let mut next_used = 0u16;
    for _ in 0..20_000 {
        let count = dice.below(17) as u16;
        // Where the driver wants to be interrupted: around where the device is.
        let event = next_used
            .wrapping_add(dice.below(40) as u16)
            .wrapping_sub(20);
        memory.put16(used_event, event);
        queue.begin_service();
        for _ in 0..count {
            ring.offer(&mut memory, 0);
            let chain = queue.pop(&mut memory, ALL).unwrap().unwrap();
            queue.complete(&mut memory, chain.head, 0).unwrap();
        }
        let interrupt = queue.end_service(&mut memory, ALL).unwrap();
        let passed = (0..count).any(|step| next_used.wrapping_add(step) == event);
        assert_eq!(interrupt, passed);
        next_used = next_used.wrapping_add(count);
        // The driver is asked to notify of the very next chain.
        if count > 0 {
            assert_eq!(memory.get16(avail_event), ring.next_available);
        }
    }
}

#[test]
fn a_fresh_queue_asks_for_the_first_notification() {
    let (mut queue, ring, mut memory) = queue(16);
    let avail_event = ring.used + 4 + 8 * 16;
    memory.put16(avail_event, 0x1234);
    assert!(!queue.end_service(&mut memory, ALL).unwrap());
    assert_eq!(memory.get16(avail_event), 0);
}

#[test]
fn areas_must_be_aligned_and_not_wrap() {
    let (queue, _, _) = queue(8);
    let fault = |change: fn(&mut QueueState)| {
        let mut queue = queue.clone();
        change(queue.state_mut());
        queue.set_up_fault().is_some()
    };
    assert!(!fault(|_| {}));
    assert!(fault(|state| state.descriptors += 8));
    assert!(fault(|state| state.driver += 1));
    assert!(fault(|state| state.device += 2));
    assert!(fault(|state| state.descriptors = u64::MAX - 15));
    assert!(fault(|state| state.driver = u64::MAX - 1));
    assert!(fault(|state| state.device = u64::MAX - 3));
    assert!(fault(|state| state.size = 12));
    assert!(fault(|state| state.size = 512));
    assert!(fault(|state| state.size = 0));
}

#[test]
fn states_that_cannot_be_are_refused() {
    let (queue, _, _) = queue(8);
    let valid = |change: fn(&mut QueueState)| {
        let mut state = queue.state().clone();
        change(&mut state);
        queue.validate("queue", &state).is_ok()
    };
    assert!(valid(|_| {}));
    assert!(!valid(|state| state.size = 0));
    assert!(!valid(|state| state.size = 512));
    assert!(!valid(|state| state.descriptors = 1));
    assert!(!valid(|state| state.next_available = 9));
    assert!(valid(|state| state.next_available = 8));
    assert!(valid(|state| {
        state.enabled = false;
        state.descriptors = 1;
    }));
}
