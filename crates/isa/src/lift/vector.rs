//! SSE.
use super::Builder;
use iced_x86::Instruction;

pub(super) fn lift(_b: &mut Builder, _i: &Instruction) -> bool {
    false
}
