//! x87. Filled in by the floating-point family.
use super::Builder;
use iced_x86::Instruction;

pub(super) fn lift(_b: &mut Builder, _i: &Instruction) -> bool {
    false
}
