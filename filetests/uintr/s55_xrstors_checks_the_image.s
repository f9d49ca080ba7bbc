# XRSTORS refuses an image whose MISC quadword has a bit of 62:40 set, whose PD or TT has reserved bits
# or whose addresses are not canonical: #GP(0), and UINV is 0 afterwards. Bit 63 of MISC is UIF and no
# fault.
# Statement 55. Intel SDM Vol. 1, "User-Interrupt State"; Vol. 2, "XRSTORS".
#
# engines: interpreter, timing
# expect:
#   a good one: done
#       UINV 0xf0, UIF 0
#   MISC bit 40: #GP(0x0)
#       UINV 0x0, UIF 0
#   MISC bit 62: #GP(0x0)
#       UINV 0x0, UIF 0
#   MISC bit 63: done
#       UINV 0xf0, UIF 1
#   PD bit 0: #GP(0x0)
#       UINV 0x0, UIF 0
#   TT bit 1: #GP(0x0)
#       UINV 0x0, UIF 0
#   handler not canonical: #GP(0x0)
#       UINV 0x0, UIF 0
#   stack adjust not canonical: #GP(0x0)
#       UINV 0x0, UIF 0
#   PD not canonical: #GP(0x0)
#       UINV 0x0, UIF 0
#   TT not canonical: #GP(0x0)
#       UINV 0x0, UIF 0
#   [exit 0]

.include "runtime.inc"
# Offsets in the component.
.set HANDLER, 0
.set ADJUST, 8
.set MISC, 16
.set PD, 24
.set TT, 40

# XRSTORS with this in one of the quadwords.
.macro restore what, offset, value
    write_msr UINTR_MISC, 5
    clui
    mov r12, [rip + component + \offset]
    movabs rax, \value
    mov [rip + component + \offset], rax
    mov eax, 1 << 14
    xor edx, edx
    try
    xrstors64 [rip + image]
    tried "\what"
    mov [rip + component + \offset], r12
    call look
.endm

main:
    set_cr4 CR4_UINTR | CR4_OSXSAVE
    write_msr XSS, 1 << 14
    restore "a good one", MISC, 0xf000000007
    restore "MISC bit 40", MISC, 0x1f000000007
    restore "MISC bit 62", MISC, 0x400000f000000007
    restore "MISC bit 63", MISC, 0x800000f000000007
    restore "PD bit 0", PD, 0x3041
    restore "TT bit 1", TT, 0x4003
    restore "handler not canonical", HANDLER, 0x0000800000000000
    restore "stack adjust not canonical", ADJUST, 0x0000800000000000
    restore "PD not canonical", PD, 0x0000800000000000
    restore "TT not canonical", TT, 0x0000800000000000
    ret

look:
    read_msr UINTR_MISC
    shr rax, 32
    print "    UINV "
    print_hex rax
    testui
    setc al
    movzx eax, al
    print ", UIF "
    print_dec rax
    println
    ret

.data
.balign 64
image:
    .fill 512, 1, 0
    .quad 1 << 14, 1 << 63 | 1 << 14, 0, 0, 0, 0, 0, 0
component:
    .quad 0x2000, 128, 0xf000000007, 0x3040, 0, 0x4001
    .skip 16
