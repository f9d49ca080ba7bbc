# AVX state in the XSAVE family: where component 2 stands, when it counts as in use, how it becomes initial.
# Intel SDM Vol. 1, "Managing State Using the XSAVE Feature Set".
#
# engines: interpreter
# cpu: x86-64-v3
# expect:
#   CPUID.(0xD,0): EAX 7, EBX 576, ECX 832
#   CPUID.(0xD,0): EAX 7, EBX 832, ECX 832
#   CPUID.(0xD,1): EAX 15, EBX 832, ECX 16384
#   CPUID.(0xD,2): EAX 256, EBX 576, ECX 0
#   XINUSE of nothing: 0x0
#   XINUSE of all of YMM: 0x6
#   XINUSE after VZEROUPPER: 0x2
#   XINUSE of an upper half alone: 0x4
#   XSAVE
#     XSTATE_BV: 0x6
#     XCOMP_BV: 0x0
#     ymm0 upper: 0xffffffffffffffff
#     ymm15 upper: 0xffffffffffffff
#   XSAVE after VZEROUPPER
#     XSTATE_BV: 0x2
#     XCOMP_BV: 0x0
#     ymm0 upper: 0x0
#     ymm15 upper: 0x0
#   XSAVEOPT after VZEROUPPER
#     XSTATE_BV: 0x2
#     XCOMP_BV: 0x0
#     ymm0 upper: 0x5a5a5a5a5a5a5a5a
#     ymm15 upper: 0x5a5a5a5a5a5a5a5a
#   XSAVEC of component 2 alone
#     XSTATE_BV: 0x4
#     XCOMP_BV: 0x8000000000000004
#     ymm0 upper: 0xffffffffffffffff
#     ymm15 upper: 0xffffffffffffff
#   XSAVES after VZEROUPPER
#     XSTATE_BV: 0x2
#     XCOMP_BV: 0x8000000000000007
#     ymm0 upper: 0x5a5a5a5a5a5a5a5a
#     ymm15 upper: 0x5a5a5a5a5a5a5a5a
#   XRSTOR
#     ymm15 upper: 0xffffffffffffff
#     ymm15 lower: 0xffffffffffffff
#   XRSTOR of component 1 alone
#     ymm15 upper: 0x0
#     ymm15 lower: 0xffffffffffffff
#   XRSTOR with XSTATE_BV = 0
#     XINUSE: 0x0
#   XRSTOR compacted, component 2 alone
#     XINUSE: 0x4
#   what XRSTOR refuses
#     a component that does not exist: #GP(0x0)
#     a reserved bit of MXCSR, component 2 alone: #GP(0x0)
#     the same, component 0 alone: done
#   [exit 0]

.include "runtime.inc"

.macro all_components
    mov eax, -1
    mov edx, eax
.endm

.macro fill_area
    lea rdi, [rip + area]
    mov ecx, 1024 / 8
    mov rax, 0x5a5a5a5a5a5a5a5a
    rep stosq
    # The header's reserved bytes.
    lea rdi, [rip + area + 512]
    mov ecx, 8
    xor eax, eax
    rep stosq
.endm

.macro show_area
    show "  XSTATE_BV", qword ptr [rip + area + 512]
    show "  XCOMP_BV", qword ptr [rip + area + 520]
    show "  ymm0 upper", qword ptr [rip + area + 576]
    show "  ymm15 upper", qword ptr [rip + area + 576 + 15 * 16 + 8]
.endm

.macro set_registers
    vpcmpeqd ymm0, ymm0, ymm0
    vpsrlq ymm15, ymm0, 8
.endm

.macro in_use what
    mov ecx, 1
    xgetbv
    show "\what", rax
.endm

.macro leaf subleaf
    mov eax, 0xd
    mov ecx, \subleaf
    cpuid
    print "CPUID.(0xD,\subleaf): EAX "
    print_dec rax
    print ", EBX "
    print_dec rbx
    print ", ECX "
    print_dec rcx
    println
.endm

main:
    fninit
    ldmxcsr [rip + initial]
    set_cr4 CR4_OSXSAVE
    leaf 0
    xor ecx, ecx
    xor edx, edx
    mov eax, 7
    xsetbv
    leaf 0
    leaf 1
    leaf 2

    vzeroall
    in_use "XINUSE of nothing"
    set_registers
    in_use "XINUSE of all of YMM"
    vzeroupper
    in_use "XINUSE after VZEROUPPER"
    pxor xmm0, xmm0
    pxor xmm15, xmm15
    vpcmpeqd ymm3, ymm3, ymm3
    pxor xmm3, xmm3
    in_use "XINUSE of an upper half alone"

    println "XSAVE"
    set_registers
    fill_area
    all_components
    xsave64 [rip + area]
    show_area
    println "XSAVE after VZEROUPPER"
    vzeroupper
    fill_area
    all_components
    xsave64 [rip + area]
    show_area
    println "XSAVEOPT after VZEROUPPER"
    fill_area
    all_components
    xsaveopt64 [rip + area]
    show_area
    println "XSAVEC of component 2 alone"
    set_registers
    fill_area
    mov eax, 4
    xor edx, edx
    xsavec64 [rip + area]
    show_area
    println "XSAVES after VZEROUPPER"
    vzeroupper
    fill_area
    all_components
    xsaves64 [rip + area]
    show_area

    println "XRSTOR"
    set_registers
    fill_area
    all_components
    xsave64 [rip + area]
    vzeroall
    all_components
    xrstor64 [rip + area]
    vextracti128 xmm1, ymm15, 1
    vpextrq rax, xmm1, 1
    show "  ymm15 upper", rax
    vpextrq rax, xmm15, 1
    show "  ymm15 lower", rax
    println "XRSTOR of component 1 alone"
    vzeroall
    mov eax, 2
    xor edx, edx
    xrstor64 [rip + area]
    vextracti128 xmm1, ymm15, 1
    vpextrq rax, xmm1, 1
    show "  ymm15 upper", rax
    vpextrq rax, xmm15, 1
    show "  ymm15 lower", rax
    println "XRSTOR with XSTATE_BV = 0"
    set_registers
    mov qword ptr [rip + area + 512], 0
    all_components
    xrstor64 [rip + area]
    in_use "  XINUSE"
    println "XRSTOR compacted, component 2 alone"
    set_registers
    fill_area
    mov eax, 4
    xor edx, edx
    xsavec64 [rip + area]
    vzeroall
    all_components
    xrstor64 [rip + area]
    in_use "  XINUSE"

    println "what XRSTOR refuses"
    fill_area
    mov qword ptr [rip + area + 512], 8
    all_components
    try
    xrstor64 [rip + area]
    tried "  a component that does not exist"
    mov qword ptr [rip + area + 512], 4
    mov dword ptr [rip + area + 24], 0x10000
    mov eax, 4
    xor edx, edx
    try
    xrstor64 [rip + area]
    tried "  a reserved bit of MXCSR, component 2 alone"
    mov eax, 1
    try
    xrstor64 [rip + area]
    tried "  the same, component 0 alone"
    ret

.data
initial: .long 0x1f80
.bss
.balign 64
area: .skip 1024
