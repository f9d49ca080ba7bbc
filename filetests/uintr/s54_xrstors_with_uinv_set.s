# XRSTORS of component 14 while UINV is not 0 is #GP(0), and the state is unchanged. So is running it
# twice with an image that sets UINV. Once XSAVES or WRMSR has cleared UINV it works again. Initialising
# the component instead (XSTATE_BV[14] = 0) does not look at UINV (see docs/decisions/uintr-doubts.md).
# Statement 54. Intel SDM Vol. 1, "User-Interrupt State"; Vol. 2, "XRSTORS".
#
# engines: interpreter, timing
# expect:
#   XRSTORS: #GP(0x0)
#   handler: 0x1000
#   misc: 0xec00000005
#   requests: 0x0
#   UINV = 0
#   XRSTORS: done
#   handler: 0x2000
#   misc: 0xf000000007
#   requests: 0x10
#   again
#   XRSTORS: #GP(0x0)
#   after XSAVES
#   XRSTORS: done
#   handler: 0x2000
#   misc: 0xf000000007
#   requests: 0x10
#   to the initial state
#   XRSTORS: done
#   handler: 0x0
#   misc: 0x0
#   requests: 0x0
#   [exit 0]

.include "runtime.inc"

.macro restore
    mov eax, 1 << 14
    xor edx, edx
    try
    xrstors64 [rip + image]
    tried "XRSTORS"
.endm

main:
    set_cr4 CR4_UINTR | CR4_OSXSAVE
    write_msr XSS, 1 << 14
    write_msr UINTR_HANDLER, 0x1000
    write_msr UINTR_MISC, 0xec00000005
    restore
    call look
    println "UINV = 0"
    write_msr UINTR_MISC, 5
    restore
    call look
    println "again"
    restore
    println "after XSAVES"
    mov eax, 1 << 14
    xor edx, edx
    xsaves64 [rip + other]
    restore
    call look
    println "to the initial state"
    mov qword ptr [rip + image + 512], 0
    restore
    call look
    ret

look:
    read_msr UINTR_HANDLER
    show "handler", rax
    read_msr UINTR_MISC
    show "misc", rax
    read_msr UINTR_RR
    show "requests", rax
    ret

.data
.balign 64
image:
    .fill 512, 1, 0
    .quad 1 << 14, 1 << 63 | 1 << 14, 0, 0, 0, 0, 0, 0
    .quad 0x2000, 128, 0xf000000007, 0x3040, 0x10, 0x4001
    .skip 16
.bss
.balign 64
other: .skip 1024
