# Privilege comes before the operand's segment: LGDT, LIDT and INVPCID at CPL 3 are #GP(0) even if their operand
# lies outside the stack segment, which would be #SS(0).
# Intel SDM Vol. 2, "LGDT/LIDT-Load Global/Interrupt Descriptor Table Register", "INVPCID". The order is what
# processors do.
#
# engines: interpreter, timing
# expect:
#   MOV, outside the stack segment: #SS(0x0)
#   LGDT: #GP(0x0)
#   LIDT: #GP(0x0)
#   INVPCID: #GP(0x0)
#   [exit 0]

.include "runtime.inc"
.set SMALL, FREE_SELECTOR | 3

.macro access what, instruction:vararg
    try_user32 \what
    mov ss, ecx
    \instruction
    tried_user32 mov ss, ebx
.endm

main:
    # 64 KiB.
    set_descriptor SMALL, 0x0040f3000000ffff
    run_user32 user32
    ret

.code32
user32:
    mov ebx, ss
    mov ecx, SMALL
    mov edx, 0x20000
    access t1, mov eax, ss:[edx]
    access t2, lgdt ss:[edx]
    access t3, lidt ss:[edx]
    access t4, invpcid eax, ss:[edx]
    jmp USER_CS:user64 + USER

.code64

user64:
    print_noted
    leave_user

.data
t1: .asciz "MOV, outside the stack segment"
t2: .asciz "LGDT"
t3: .asciz "LIDT"
t4: .asciz "INVPCID"
