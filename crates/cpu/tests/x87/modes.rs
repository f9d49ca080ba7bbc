//! What cannot be compared with a 64-bit program: other modes, control registers, saved state.
