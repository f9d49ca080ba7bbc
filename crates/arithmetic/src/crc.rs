//! The CRC32 instruction of SSE4.2: the polynomial of CRC-32C, bit-reflected.
//!
//! Source: SDM Vol. 2, "CRC32-Accumulate CRC32 Value".

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut rest = i as u32;
        let mut bit = 0;
        while bit < 8 {
            rest = rest >> 1 ^ if rest & 1 != 0 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[i] = rest;
        i += 1;
    }
    table
};

/// Accumulates the low `size_bytes` bytes of `data` (1, 2, 4 or 8; more count as 8).
///
/// ```
/// use ring3_arithmetic::crc32;
/// // The check value of CRC-32C: of "123456789", inverted before and after.
/// let crc = b"123456789".iter().fold(!0, |crc, byte| crc32(crc, u64::from(*byte), 1));
/// assert_eq!(!crc, 0xe306_9283);
/// ```
pub fn crc32(crc: u32, data: u64, size_bytes: usize) -> u32 {
    data.to_le_bytes()
        .iter()
        .take(size_bytes)
        .fold(crc, |crc, byte| {
            crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)]
        })
}
