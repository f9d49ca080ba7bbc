# What XSAVES writes: the eight elements at their places, UIF in bit 63 of the third quadword and zeros
# between, the enable bit of TT in the sixth. With the component in its initial state nothing is written
# and XSTATE_BV[14] is 0; UIF alone makes it not initial.
# Statement 57. Intel SDM Vol. 1, "User-Interrupt State".
#
# engines: interpreter, timing
# expect:
#   CPUID.(0xD,14): EAX 48, EBX 0, ECX 1
#   initial
#   XSTATE_BV: 0x0
#   XCOMP_BV: 0x8000000000004000
#     0xffffffffffffffff  0xffffffffffffffff  0xffffffffffffffff  0xffffffffffffffff  0xffffffffffffffff  0xffffffffffffffff  0xffffffffffffffff
#   UIF alone
#   XSTATE_BV: 0x4000
#   XCOMP_BV: 0x8000000000004000
#     0x0  0x0  0x8000000000000000  0x0  0x0  0x0  0xffffffffffffffff
#   everything
#   XSTATE_BV: 0x4000
#   XCOMP_BV: 0x8000000000004000
#     0x111000  0x81  0x800000ec00000123  0x222040  0x8000000000000001  0x333001  0xffffffffffffffff
#   UIF = 0
#   XSTATE_BV: 0x4000
#   XCOMP_BV: 0x8000000000004000
#     0x111000  0x81  0xec00000123  0x222040  0x8000000000000001  0x333001  0xffffffffffffffff
#   [exit 0]

.include "runtime.inc"

.macro save
    mov eax, 1 << 14
    xor edx, edx
    xsaves64 [rip + area]
    call look
.endm

main:
    mov eax, 0xd
    mov ecx, 14
    cpuid
    print "CPUID.(0xD,14): EAX "
    print_dec rax
    print ", EBX "
    print_dec rbx
    print ", ECX "
    print_dec rcx
    println
    set_cr4 CR4_UINTR | CR4_OSXSAVE
    write_msr XSS, 1 << 14
    # The image starts as all ones, so that what isn't written shows.
    lea rdi, [rip + area]
    mov ecx, 1024
    mov al, -1
    rep stosb
    println "initial"
    save
    println "UIF alone"
    stui
    save
    println "everything"
    write_msr UINTR_HANDLER, 0x111000
    write_msr UINTR_STACKADJUST, 0x81
    write_msr UINTR_MISC, 0xec00000123
    write_msr UINTR_PD, 0x222040
    write_msr UINTR_RR, 0x8000000000000001
    write_msr UINTR_TT, 0x333001
    save
    println "UIF = 0"
    write_msr UINTR_MISC, 0xec00000123
    clui
    save
    ret

look:
    show "XSTATE_BV", [rip + area + 512]
    show "XCOMP_BV", [rip + area + 520]
    xor r12d, r12d
1:  lea rax, [rip + area + 576]
    print "  "
    print_hex [rax + 8 * r12]
    inc r12d
    cmp r12d, 7
    jne 1b
    println
    ret

.bss
.balign 64
area: .skip 1024
