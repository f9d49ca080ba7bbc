//! The loop on a processor without devices.

use super::*;
use ring3_arch::cr::{cr0, cr4, efer};
use ring3_arch::segment::Segment;
use ring3_arch::{CpuIndex, GuestPhys};
use ring3_bus::Nothing;
use ring3_clock::Ticks;
use ring3_cpu::{Cpu, CpuKind, CpuModel, FunctionalMemory};
use ring3_isa::Reg;
use ring3_memory::{CodeMap, Ram, RamLayout, Tlb};
use std::sync::Arc;

struct World {
    cpu: Cpu,
    tlb: Tlb,
    ram: Ram,
    code: CodeMap,
    store: BlockStore,
    now: Ticks,
}

const CODE: u64 = 0x10_0000;

/// A processor in 64-bit mode at CPL 0, identity-mapped, with `code` at [`CODE`].
fn world(code: &[u8]) -> World {
    let layout = RamLayout::new(16 << 20);
    let mut ram = Ram::new(layout).unwrap();
    ram.write_u64(GuestPhys(0x1000), 0x2000 | 3);
    ram.write_u64(GuestPhys(0x2000), 0x83);
    // Linear 1 GiB is 3 GiB physical, where nothing is RAM.
    ram.write_u64(GuestPhys(0x2008), (3 << 30) | 0x83);
    ram.write(GuestPhys(CODE), code).unwrap();
    let mut cpu = Cpu::new(CpuIndex(0), Arc::new(CpuModel::of(CpuKind::Spr, 1)), 1);
    cpu.system.cr4 = cr4::PAE | cr4::OSFXSR;
    cpu.system.efer = efer::LME | efer::LMA | efer::SCE;
    cpu.system.cr3 = 0x1000;
    cpu.system.cr0 = cr0::PE | cr0::PG | cr0::ET | cr0::WP;
    cpu.set_segment(
        1,
        Segment {
            selector: 8,
            base: 0,
            limit: u32::MAX,
            attributes: 0xa09b,
        },
    );
    cpu.set_segment(
        2,
        Segment {
            selector: 16,
            base: 0,
            limit: u32::MAX,
            attributes: 0xc093,
        },
    );
    cpu.set_rip(CODE);
    cpu.set_reg(Reg::Rsp, 0x8_0000);
    World {
        cpu,
        tlb: Tlb::default(),
        ram,
        code: CodeMap::new(layout.size()),
        store: BlockStore::new(),
        now: Ticks(0),
    }
}

impl World {
    fn run(&mut self, ticks: u64) -> Outcome {
        let mut platform = Nothing;
        let mut m = FunctionalMemory::new(
            &self.cpu,
            &mut self.tlb,
            &mut self.ram,
            &mut self.code,
            &mut platform,
            self.now,
        );
        let outcome = run(
            &mut self.store,
            &mut self.cpu,
            &mut m,
            Ticks(self.now.0 + ticks),
        );
        self.now = m.now;
        outcome
    }
}

#[test]
fn a_slice_ends_at_exactly_the_instruction_asked_for() {
    // inc rax ; inc rax ; inc rax ; jmp -11
    let code = [
        0x48, 0xff, 0xc0, 0x48, 0xff, 0xc0, 0x48, 0xff, 0xc0, 0xeb, 0xf5,
    ];
    for ticks in 1..40 {
        let mut world = world(&code);
        let outcome = world.run(ticks);
        assert_eq!(
            outcome,
            Outcome {
                exit: Exit::SliceEnd,
                instructions: ticks
            }
        );
        assert_eq!(world.cpu.reg(Reg::Rax), ticks - ticks / 4);
    }
}

#[test]
fn a_store_into_the_running_block_takes_effect_at_once() {
    // mov byte [rip+1], 7 ; mov al, 1 (the 1 becomes 7) ; hlt
    let code = [0xc6, 0x05, 0x01, 0x00, 0x00, 0x00, 0x07, 0xb0, 0x01, 0xf4];
    let mut world = world(&code);
    let outcome = world.run(100);
    assert_eq!(outcome.exit, Exit::Idle(Ticks::NEVER));
    assert_eq!(world.cpu.reg(Reg::Rax), 7);
    assert_eq!(outcome.instructions, 3);
}

#[test]
fn a_device_access_inside_a_block_is_made_once_and_in_order() {
    // mov eax, 0x40000000 ; mov ebx, 1 ; mov ecx, [rax] ; inc ebx ; hlt
    let code = [
        0xb8, 0, 0, 0, 0x40, 0xbb, 1, 0, 0, 0, 0x8b, 0x08, 0xff, 0xc3, 0xf4,
    ];
    let mut world = world(&code);
    let outcome = world.run(100);
    assert_eq!(outcome.instructions, 5);
    assert_eq!(
        (world.cpu.reg(Reg::Rcx), world.cpu.reg(Reg::Rbx)),
        (0xffff_ffff, 2)
    );
}

#[test]
fn an_instruction_across_two_pages_executes() {
    // mov eax, 0x12345678 ; hlt, starting 2 bytes before the end of a page
    let mut world = world(&[]);
    let code = [0xb8, 0x78, 0x56, 0x34, 0x12, 0xf4];
    world.ram.write(GuestPhys(CODE + 0xffe), &code).unwrap();
    world.cpu.set_rip(CODE + 0xffe);
    let outcome = world.run(100);
    assert_eq!(outcome.instructions, 2);
    assert_eq!(world.cpu.reg(Reg::Rax), 0x1234_5678);
}

/// Lets the processor use AVX.
fn enable_avx(cpu: &mut Cpu) {
    cpu.system.cr4 |= cr4::OSXSAVE;
    cpu.system.xcr0 = 7;
}

#[test]
fn a_wide_store_into_the_running_block_takes_effect_at_once() {
    // vmovdqu ymm0, [rsi] ; vmovdqu [rip], ymm0 ; ud2
    let code = [
        0xc5, 0xfe, 0x6f, 0x06, 0xc5, 0xfe, 0x7f, 0x05, 0, 0, 0, 0, 0x0f, 0x0b,
    ];
    let mut world = world(&code);
    enable_avx(&mut world.cpu);
    // 31 times nop, hlt
    let mut instead = [0x90; 32];
    instead[31] = 0xf4;
    world.ram.write(GuestPhys(0x5000), &instead).unwrap();
    world.cpu.set_reg(Reg::Rsi, 0x5000);
    let outcome = world.run(100);
    assert_eq!(outcome.exit, Exit::Idle(Ticks::NEVER));
    assert_eq!(outcome.instructions, 34);
}

#[test]
fn a_wide_access_to_a_device_is_made_in_quadwords() {
    // nop ; vmovdqu ymm1, [rax] ; hlt
    let code = [0x90, 0xc5, 0xfe, 0x6f, 0x08, 0xf4];
    let mut world = world(&code);
    enable_avx(&mut world.cpu);
    world.cpu.set_reg(Reg::Rax, 0x4000_0000);
    let outcome = world.run(100);
    assert_eq!(outcome.instructions, 3);
    let got = (world.cpu.vectors[1], world.cpu.uppers[1]);
    assert_eq!(got, (u128::MAX, u128::MAX));
}

/// A gather in the middle of a block that meets a device starts again, alone, and reads it once.
#[test]
fn a_gather_from_a_device_starts_again() {
    // nop ; vpgatherdd xmm1, [rax+xmm2*4], xmm3 ; hlt
    let code = [0x90, 0xc4, 0xe2, 0x61, 0x90, 0x0c, 0x90, 0xf4];
    let mut world = world(&code);
    enable_avx(&mut world.cpu);
    world.cpu.set_reg(Reg::Rax, 0x4000_0000 - 8);
    // Nothing is mapped below the device, where the first element would be; it is not wanted.
    world.cpu.vectors[2] = 4 << 96 | 3 << 64 | 2 << 32;
    world.cpu.vectors[3] = 1 << 127 | 1 << 95 | 1 << 63;
    world.cpu.vectors[1] = 0x1234;
    let outcome = world.run(100);
    assert_eq!(outcome.instructions, 3);
    let expected = u128::MAX << 32 | 0x1234;
    assert_eq!(world.cpu.vectors[1], expected);
    assert_eq!(world.cpu.vectors[3], 0);
}

/// Not a test of correctness: prints the speed of an integer loop. `cargo test --release -p
/// ring3-interpreter speed -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, run by hand"]
fn speed() {
    // loop: add rax, rbx; xor rcx, rax; shl rdx, 3; add rdx, rcx; mov [rsi], rdx; mov rdi, [rsi];
    // lea r8, [rdi+rax*4+5]; cmp r8, r9; dec r10; jnz loop
    let code = [
        0x48, 0x01, 0xd8, 0x48, 0x31, 0xc1, 0x48, 0xc1, 0xe2, 0x03, 0x48, 0x01, 0xca, 0x48, 0x89,
        0x16, 0x48, 0x8b, 0x3e, 0x4c, 0x8d, 0x44, 0x87, 0x05, 0x4d, 0x39, 0xc8, 0x49, 0xff, 0xca,
        0x75, 0xe0,
    ];
    let mut world = world(&code);
    world.cpu.set_reg(Reg::Rsi, 0x5000);
    world.cpu.set_reg(Reg::Rbx, 3);
    let start = std::time::Instant::now();
    let outcome = world.run(1_000_000_000);
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{:.1} million instructions per second",
        outcome.instructions as f64 / seconds / 1e6
    );
}

/// The same for vectors: SSE, as in most programs; AVX; scalars in VEX encodings.
#[test]
#[ignore = "a measurement, run by hand"]
fn speed_of_vectors() {
    // loop: movaps xmm0, [rsi]; addps xmm0, xmm1; movdqa xmm2, [rsi+16]; paddd xmm2, xmm3; pxor xmm0,
    // xmm2; mulsd xmm5, xmm4; pshufd xmm6, xmm0, 0x1b; movaps [rsi+32], xmm6; dec r10; jnz loop
    let sse = [
        0x0f, 0x28, 0x06, 0x0f, 0x58, 0xc1, 0x66, 0x0f, 0x6f, 0x56, 0x10, 0x66, 0x0f, 0xfe, 0xd3,
        0x66, 0x0f, 0xef, 0xc2, 0xf2, 0x0f, 0x59, 0xec, 0x66, 0x0f, 0x70, 0xf0, 0x1b, 0x0f, 0x29,
        0x76, 0x20, 0x49, 0xff, 0xca, 0x75, 0xdb,
    ];
    // The same with ymm registers and the v in front.
    let avx = [
        0xc5, 0xfc, 0x28, 0x06, 0xc5, 0xfc, 0x58, 0xc1, 0xc5, 0xfd, 0x6f, 0x56, 0x20, 0xc5, 0xed,
        0xfe, 0xd3, 0xc5, 0xfd, 0xef, 0xc2, 0xc5, 0xd3, 0x59, 0xec, 0xc5, 0xfd, 0x70, 0xf0, 0x1b,
        0xc5, 0xfc, 0x29, 0x76, 0x40, 0x49, 0xff, 0xca, 0x75, 0xd8,
    ];
    // loop: vmovsd xmm0, [rsi]; vmulsd xmm0, xmm0, xmm1; vaddsd xmm2, xmm2, xmm0; vfmadd231sd xmm3, xmm0,
    // xmm1; vmovsd [rsi+8], xmm3; vxorpd xmm4, xmm4, xmm4; vmovaps xmm5, xmm2; dec r10; jnz loop
    let scalar = [
        0xc5, 0xfb, 0x10, 0x06, 0xc5, 0xfb, 0x59, 0xc1, 0xc5, 0xeb, 0x58, 0xd0, 0xc4, 0xe2, 0xf9,
        0xb9, 0xd9, 0xc5, 0xfb, 0x11, 0x5e, 0x08, 0xc5, 0xd9, 0x57, 0xe4, 0xc5, 0xf8, 0x28, 0xea,
        0x49, 0xff, 0xca, 0x75, 0xdd,
    ];
    for (name, code) in [("SSE", &sse[..]), ("AVX", &avx), ("scalar VEX", &scalar)] {
        let mut world = world(code);
        enable_avx(&mut world.cpu);
        world.cpu.set_reg(Reg::Rsi, 0x5000);
        world
            .ram
            .write_u64(GuestPhys(0x5000), 1.000_000_1_f64.to_bits());
        world.cpu.vectors[..8].fill(1.7_f64.to_bits().into());
        let start = std::time::Instant::now();
        let outcome = world.run(300_000_000);
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{name}: {:.1} million instructions per second",
            outcome.instructions as f64 / seconds / 1e6
        );
    }
}
