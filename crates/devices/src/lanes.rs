//! Byte lanes: a wide access to byte-wide registers is an access to each of them, lowest first,
//! as the ISA bus splits it.

/// Reads `size` byte registers from `offset` on.
pub(crate) fn read(offset: u64, size: u8, mut byte: impl FnMut(u64) -> u8) -> u64 {
    (0..u64::from(size.min(8))).fold(0, |value, lane| {
        value | u64::from(byte(offset.wrapping_add(lane))) << (8 * lane)
    })
}

/// Writes `size` byte registers from `offset` on.
pub(crate) fn write(offset: u64, size: u8, value: u64, mut byte: impl FnMut(u64, u8)) {
    for lane in 0..u64::from(size.min(8)) {
        byte(offset.wrapping_add(lane), (value >> (8 * lane)) as u8);
    }
}
