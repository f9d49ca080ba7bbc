# What becomes of bits 255:128: legacy SSE keeps them, VEX.128 clears those of its destination, VZEROUPPER and
# VZEROALL clear all that the mode has.
# Intel SDM Vol. 1, "Legacy SSE Instruction Encodings and the YMM Registers"; Vol. 2, "VZEROUPPER", "VZEROALL".
# QEMU clears all sixteen registers in compatibility mode too.
#
# engines: interpreter
# cpu: x86-64-v3
# expect:
#   XORPS: 0xffffffffffffffff 0xffffffffffffffff 0x0 0x0
#   VXORPS: 0x0 0x0 0x0 0x0
#   MOVSS from memory: 0xffffffffffffffff 0xffffffffffffffff 0x0 0x40000000
#   VMOVSS from memory: 0x0 0x0 0x0 0x40000000
#   VMOVSS from a register: 0x0 0x0 0xffffffffffffffff 0xffffffff40000000
#   CVTSI2SD: 0xffffffffffffffff 0xffffffffffffffff 0xffffffffffffffff 0x401c000000000000
#   VCVTSI2SD: 0x0 0x0 0xffffffffffffffff 0x401c000000000000
#   PINSRB: 0xffffffffffffffff 0xffffffffffffffff 0xffffffffffffffff 0xffffffff07ffffff
#   VPINSRB: 0x0 0x0 0xffffffffffffffff 0xffffffff07ffffff
#   MOVQ2DQ: 0xffffffffffffffff 0xffffffffffffffff 0x0 0x40000000
#   VZEROUPPER, ymm0: 0x0 0x0 0xffffffffffffffff 0xffffffffffffffff
#   ymm15: 0x0 0x0 0xffffffffffffffff 0xffffffffffffffff
#   VZEROALL, ymm0: 0x0 0x0 0x0 0x0
#   ymm15: 0x0 0x0 0x0 0x0
#   VZEROALL in compatibility mode, ymm7: 0x0 0x0 0x0 0x0
#   ymm8: 0xffffffffffffffff 0xffffffffffffffff 0xffffffffffffffff 0xffffffffffffffff
#   VZEROUPPER in compatibility mode, ymm7: 0x0 0x0 0xffffffffffffffff 0xffffffffffffffff
#   ymm8: 0xffffffffffffffff 0xffffffffffffffff 0xffffffffffffffff 0xffffffffffffffff
#   [exit 0]

.include "runtime.inc"

.macro ones registers:vararg
    .irp register, \registers
    vpcmpeqd \register, \register, \register
    .endr
.endm

# show_ymm "what", REGISTER: the quadwords, highest first.
.macro show_ymm what, register
    vmovups [rip + scratch], \register
    print "\what: "
    print_hex qword ptr [rip + scratch + 24]
    print " "
    print_hex qword ptr [rip + scratch + 16]
    print " "
    print_hex qword ptr [rip + scratch + 8]
    print " "
    print_hex qword ptr [rip + scratch]
    println
.endm

main:
    set_cr4 CR4_OSXSAVE
    xor ecx, ecx
    xor edx, edx
    mov eax, 7
    xsetbv

    ones ymm1, ymm2
    xorps xmm1, xmm1
    show_ymm "XORPS", ymm1
    vxorps xmm2, xmm2, xmm2
    show_ymm "VXORPS", ymm2
    ones ymm1, ymm2, ymm3
    movss xmm1, [rip + two]
    show_ymm "MOVSS from memory", ymm1
    vmovss xmm2, [rip + two]
    show_ymm "VMOVSS from memory", ymm2
    vmovss xmm3, xmm3, xmm2
    show_ymm "VMOVSS from a register", ymm3
    ones ymm1, ymm2
    cvtsi2sd xmm1, eax
    show_ymm "CVTSI2SD", ymm1
    vcvtsi2sd xmm2, xmm2, eax
    show_ymm "VCVTSI2SD", ymm2
    ones ymm1, ymm2
    pinsrb xmm1, eax, 3
    show_ymm "PINSRB", ymm1
    vpinsrb xmm2, xmm2, eax, 3
    show_ymm "VPINSRB", ymm2
    ones ymm1, ymm2
    movd mm3, [rip + two]
    movq2dq xmm1, mm3
    emms
    show_ymm "MOVQ2DQ", ymm1

    ones ymm0, ymm7, ymm8, ymm15
    vzeroupper
    show_ymm "VZEROUPPER, ymm0", ymm0
    show_ymm "ymm15", ymm15
    ones ymm0, ymm7, ymm8, ymm15
    vzeroall
    show_ymm "VZEROALL, ymm0", ymm0
    show_ymm "ymm15", ymm15
    ones ymm0, ymm7, ymm8, ymm15
    run_user32 compatibility
    show_ymm "VZEROALL in compatibility mode, ymm7", ymm7
    show_ymm "ymm8", ymm8
    ones ymm0, ymm7, ymm8, ymm15
    run_user32 compatibility2
    show_ymm "VZEROUPPER in compatibility mode, ymm7", ymm7
    show_ymm "ymm8", ymm8
    ret

.code32
compatibility:
    vzeroall
    leave_user
compatibility2:
    vzeroupper
    leave_user
.code64

.data
two: .float 2
.bss
.balign 32
scratch: .skip 32
