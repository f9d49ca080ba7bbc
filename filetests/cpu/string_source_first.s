# MOVS and CMPS load from the source before anything is checked of the destination: of two faults, the
# source's is reported.
# Intel SDM Vol. 2, "MOVS/MOVSB/MOVSW/MOVSD/MOVSQ-Move Data From String to String", "CMPS". The order is what
# processors do; the manual shows it only in the description of the operation.
#
# engines: interpreter, timing
# expect:
#   MOVSB, source not present, destination null: #PF(0x4)
#   CMPSB: #PF(0x4)
#   MOVSB, source present: #GP(0x0)
#   CMPSB: #GP(0x0)
#   [exit 0]

.include "runtime.inc"

.macro access what, instruction:vararg
    try_user32 \what
    \instruction
    tried_user32
.endm

main:
    run_user32 user32
    ret

.code32
user32:
    xor eax, eax
    mov es, eax
    mov esi, PLAY
    mov edi, offset data + USER
    access t1, movsb
    access t2, cmpsb
    mov esi, offset data + USER
    access t3, movsb
    access t4, cmpsb
    jmp USER_CS:user64 + USER

.code64

user64:
    print_noted
    leave_user

.data
data: .quad 0
t1: .asciz "MOVSB, source not present, destination null"
t2: .asciz "CMPSB"
t3: .asciz "MOVSB, source present"
t4: .asciz "CMPSB"
