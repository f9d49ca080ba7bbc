//! The comparison of two ends.

use crate::layout::{MEMORY, MEMORY_BYTES, PAGE};
use crate::open::Ledger;
use crate::state::{End, FLAGS, Flags, NAMES, State};
use ring3_arch::exception::page_fault;

/// What a sequence left behind.
pub struct After<'a> {
    /// Registers.
    pub state: &'a State,
    /// Memory.
    pub memory: &'a [u8],
    /// How it ended.
    pub end: End,
}

/// Where Linux ends the part of the address space that belongs to programs; of what is behind it, it
/// does not tell whether a page is present.
const TASK_SIZE: u64 = 0x7fff_ffff_f000;

/// Faults agree.
fn same_end(native: End, modelled: End, address_open: bool) -> bool {
    let normal = |mut end: End| {
        if end.address >= TASK_SIZE {
            end.error_code &= !page_fault::PRESENT;
        }
        if address_open {
            (end.address, end.error_code) = (0, 0);
        }
        end
    };
    native == modelled || normal(native) == normal(modelled)
}

/// Whether nothing at all differs. Quick, since it is nearly always true.
pub fn same(native: &After<'_>, modelled: &After<'_>, avx: bool) -> bool {
    let (n, m) = (native.state, modelled.state);
    let (na, ma) = (&n.area.0, &m.area.0);
    // Control and status word, tags; the registers of the x87 stack; MXCSR; vectors.
    native.end == modelled.end
        && n.general == m.general
        && n.rip == m.rip
        && (n.rflags ^ m.rflags) & FLAGS == 0
        && n.bases == m.bases
        && n.selectors == m.selectors
        && na[0..5] == ma[0..5]
        && na[24..28] == ma[24..28]
        && (0..8).all(|i| n.area.st(i) == m.area.st(i))
        && na[160..416] == ma[160..416]
        && (!avx || na[576..832] == ma[576..832])
        && native.memory == modelled.memory
}

/// In what two ends differ apart from what is open, one line each.
pub fn differences(
    before: &State,
    native: &After<'_>,
    modelled: &After<'_>,
    ledger: &Ledger,
    avx: bool,
) -> Vec<String> {
    let mut lines = Vec::new();
    let (n, m) = (native.state, modelled.state);
    if !same_end(native.end, modelled.end, ledger.fault_address) {
        lines.push(format!("ended with {}, here {}", native.end, modelled.end));
    }
    for (number, name) in NAMES.iter().enumerate() {
        let (n, m) = (n.general[number], m.general[number]);
        if n != m && ledger.general >> number & 1 == 0 {
            let before = before.general[number];
            lines.push(format!("{name}: {n:x}, here {m:x} (before: {before:x})"));
        }
    }
    if n.rip != m.rip {
        lines.push(format!("rip: {:x}, here {:x}", n.rip, m.rip));
    }
    let compared = FLAGS & !ledger.flags;
    if (n.rflags ^ m.rflags) & compared != 0 {
        lines.push(format!(
            "flags: {}, here {} (before: {}, open: {})",
            Flags(n.rflags),
            Flags(m.rflags),
            Flags(before.rflags),
            Flags(ledger.flags)
        ));
    }
    for (name, (n, m)) in ["fs.base", "gs.base"]
        .iter()
        .zip(n.bases.iter().zip(m.bases))
    {
        if *n != m {
            lines.push(format!("{name}: {n:x}, here {m:x}"));
        }
    }
    for (name, (n, m)) in ["ds", "es", "fs", "gs", "cs", "ss"]
        .iter()
        .zip(n.selectors.iter().zip(m.selectors))
    {
        // Linux does not keep the RPL of null selectors over an exception.
        let is_null = |selector: u16| selector < 4;
        if *n != m && !(is_null(*n) && is_null(m)) {
            lines.push(format!("{name}: {n:x}, here {m:x}"));
        }
    }
    if n.area.mxcsr() != m.area.mxcsr() {
        lines.push(format!(
            "mxcsr: {:x}, here {:x} (before: {:x})",
            n.area.mxcsr(),
            m.area.mxcsr(),
            before.area.mxcsr()
        ));
    }
    for number in 0..16 {
        let halves = |state: &State| {
            let [low, high] = state.area.vector(number);
            (low, if avx { high } else { 0 })
        };
        let (n, m) = (halves(n), halves(m));
        if n != m && ledger.vectors >> number & 1 == 0 {
            let before = halves(before);
            lines.push(format!(
                "ymm{number}: {:032x}_{:032x}, here {:032x}_{:032x} (before: {:032x}_{:032x})",
                n.1, n.0, m.1, m.0, before.1, before.0
            ));
        }
    }
    if !ledger.x87 {
        compare_x87(before, n, m, ledger, &mut lines);
    }
    if !ledger.all_memory {
        compare_memory(native.memory, modelled.memory, ledger, &mut lines);
    }
    lines
}

fn compare_x87(before: &State, n: &State, m: &State, ledger: &Ledger, lines: &mut Vec<String>) {
    let words = |state: &State| {
        (
            state.area.control(),
            state.area.status() & !ledger.status,
            state.area.tags(),
        )
    };
    if words(n) != words(m) {
        lines.push(format!(
            "x87 control, status, tags: {:x?}, here {:x?} (before: {:x?}, open: {:x})",
            words(n),
            words(m),
            words(before),
            ledger.status
        ));
    }
    for number in 0..8 {
        let (n, m) = (n.area.st(number), m.area.st(number));
        if n != m && !ledger.x87_values {
            let before = before.area.st(number);
            lines.push(format!(
                "st{number}: {n:020x}, here {m:020x} (before: {before:020x})"
            ));
        }
    }
}

fn compare_memory(native: &[u8], modelled: &[u8], ledger: &Ledger, lines: &mut Vec<String>) {
    if native == modelled {
        return;
    }
    let mut open = vec![false; MEMORY_BYTES];
    for range in &ledger.memory {
        for address in range.clone().take(2 * MEMORY_BYTES) {
            if (MEMORY..MEMORY + 2 * PAGE).contains(&address) {
                open[((address - MEMORY) % PAGE) as usize] = true;
            }
        }
    }
    let differing = (0..MEMORY_BYTES).filter(|&at| native[at] != modelled[at] && !open[at]);
    if let Some(at) = differing.min() {
        let to = (at + 16).min(MEMORY_BYTES);
        lines.push(format!(
            "memory at {:x}: {:02x?}, here {:02x?}",
            MEMORY + at as u64,
            &native[at..to],
            &modelled[at..to],
        ));
    }
}
