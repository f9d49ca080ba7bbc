# Opcode 90 is NOP, and with F3 PAUSE, only as XCHG of RAX with itself. With REX.B it is XCHG R8, RAX, and a
# repeat prefix in front means nothing.
# Intel SDM Vol. 2, "One-byte Opcode Map" (90), "XCHG-Exchange Register/Memory with Register".
#
# engines: interpreter, qemu
# expect:
#   RAX after F3 49 90: 0x2
#   R8: 0x1
#   RAX after F3 41 90: 0x90abcdef
#   R8: 0x55667788
#   RAX after F3 48 90: 0x1122334455667788
#   [exit 0]

.include "runtime.inc"

main:
    mov eax, 1
    mov r8d, 2
    .byte 0xf3, 0x49, 0x90
    show "RAX after F3 49 90", rax
    show "R8", r8
    movabs rax, 0x1122334455667788
    movabs r8, 0x1234567890abcdef
    .byte 0xf3, 0x41, 0x90
    show "RAX after F3 41 90", rax
    show "R8", r8
    movabs rax, 0x1122334455667788
    .byte 0xf3, 0x48, 0x90
    show "RAX after F3 48 90", rax
    ret
