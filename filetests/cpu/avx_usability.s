# When VEX-encoded vector instructions exist: CR4.OSXSAVE, XCR0 and CR0.TS decide; CR0.EM and CR4.OSFXSR do
# not. Those that work on general registers need none of it.
# Intel SDM Vol. 2, "AVX and SSE Instruction Exception Classification"; "XSETBV"; Vol. 3, "Enabling Processor
# Extended States".
# QEMU lets CR0.EM decide too, and has no SIMD floating-point exceptions.
#
# engines: interpreter
# cpu: x86-64-v3
# expect:
#   CR4.OSXSAVE = 0
#     VADDPS ymm: #UD
#     VMOVD xmm: #UD
#     VZEROUPPER: #UD
#     ANDN: done
#     SHLX: done
#   XCR0 = 7: #UD
#   XCR0 = 1
#     VADDPS ymm: #UD
#     VMOVD xmm: #UD
#     VZEROUPPER: #UD
#     ANDN: done
#     SHLX: done
#   XCR0 = 3: done
#   XCR0 = 3
#     VADDPS ymm: #UD
#     VMOVD xmm: #UD
#     VZEROUPPER: #UD
#     ANDN: done
#     SHLX: done
#   XCR0 = 0: #GP(0x0)
#   XCR0 = 5: #GP(0x0)
#   XCR0 = 6: #GP(0x0)
#   XCR0 = 0x27: #GP(0x0)
#   XCR1: #GP(0x0)
#   XCR0 = 7: done
#   XCR0 = 7
#     VADDPS ymm: done
#     VMOVD xmm: done
#     VZEROUPPER: done
#     ANDN: done
#     SHLX: done
#   CR0.TS = 1
#     VADDPS ymm: #NM
#     VMOVD xmm: #NM
#     VZEROUPPER: #NM
#     ANDN: done
#     SHLX: done
#   CR0.EM = 1
#     VADDPS ymm: done
#     VMOVD xmm: done
#     VZEROUPPER: done
#     ANDN: done
#     SHLX: done
#   CR4.OSFXSR = 0
#     VADDPS ymm: done
#     VMOVD xmm: done
#     VZEROUPPER: done
#     ANDN: done
#     SHLX: done
#   #XM
#   VDIVPS ymm: #XM
#   MXCSR: 0x1d84
#   destination unchanged: 0xffffffff
#   VDIVPS ymm with CR4.OSXMMEXCPT = 0: #UD
#   [exit 0]

.include "runtime.inc"

.macro attempt what
    println "\what"
    try
    vaddps ymm0, ymm1, ymm2
    tried "  VADDPS ymm"
    try
    vmovd xmm0, eax
    tried "  VMOVD xmm"
    try
    vzeroupper
    tried "  VZEROUPPER"
    try
    andn eax, ecx, edx
    tried "  ANDN"
    try
    shlx eax, ecx, edx
    tried "  SHLX"
.endm

.macro xcr0 value
    xor ecx, ecx
    xor edx, edx
    mov eax, \value
    try
    xsetbv
    tried "XCR0 = \value"
.endm

main:
    attempt "CR4.OSXSAVE = 0"
    xcr0 7
    set_cr4 CR4_OSXSAVE
    attempt "XCR0 = 1"
    xcr0 3
    attempt "XCR0 = 3"
    xcr0 0
    xcr0 5
    xcr0 6
    xcr0 0x27
    mov ecx, 1
    mov eax, 7
    xor edx, edx
    try
    xsetbv
    tried "XCR1"
    xcr0 7
    attempt "XCR0 = 7"
    set_cr0 CR0_TS
    attempt "CR0.TS = 1"
    set_cr0 CR0_EM
    clear_cr0 CR0_TS
    attempt "CR0.EM = 1"
    clear_cr0 CR0_EM
    clear_cr4 CR4_OSFXSR
    attempt "CR4.OSFXSR = 0"
    set_cr4 CR4_OSFXSR

    # One element of the upper half divides by zero, one of the lower half is inexact: the unmasked exception
    # before the computation keeps the other from being noted.
    println "#XM"
    set_cr4 CR4_OSXMMEXCPT
    vmovups ymm1, [rip + dividends]
    vmovups ymm2, [rip + divisors]
    vmovaps ymm3, ymm1
    vldmxcsr [rip + zero_divide_unmasked]
    try
    vdivps ymm3, ymm1, ymm2
    tried "VDIVPS ymm"
    vstmxcsr [rip + scratch]
    mov eax, [rip + scratch]
    show "MXCSR", rax
    vpcmpeqq ymm4, ymm3, ymm1
    vpmovmskb eax, ymm4
    show "destination unchanged", rax
    clear_cr4 CR4_OSXMMEXCPT
    try
    vdivps ymm3, ymm1, ymm2
    tried "VDIVPS ymm with CR4.OSXMMEXCPT = 0"
    ret

.data
.balign 32
dividends: .float 1, 2, 3, 4, 5, 6, 7, 8
divisors: .float 3, 1, 1, 1, 1, 1, 0, 1
zero_divide_unmasked: .long 0x1d80
.bss
.balign 8
scratch: .skip 8
