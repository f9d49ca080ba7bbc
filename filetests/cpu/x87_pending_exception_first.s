# An x87 exception that is pending is reported by the next waiting x87 instruction before anything that its
# memory operand raises: the page that isn't there, and outside 64-bit mode the segment. Instructions that
# do not wait go on to the operand.
# Intel SDM Vol. 1, "x87 FPU Exception Synchronization". That a pending exception comes before the segment's
# check is what processors do.
#
# engines: interpreter, timing
# expect:
#   64 bits, page not present, FLD: #MF
#   FNSTCW: #PF(0x2)
#   32 bits, null segment, FLD: #MF
#   FISTP: #MF
#   FLDENV: #MF
#   FNSTCW: #GP(0x0)
#   FNSTENV: #GP(0x0)
#   [exit 0]

.include "runtime.inc"

.macro access what, instruction:vararg
    try_user32 \what
    \instruction
    tried_user32
.endm

main:
    # The divide-by-zero exception is not masked, and 1 / 0 raises it.
    fninit
    fldcw [rip + control]
    fldz
    fld1
    fdiv st, st(1)
    mov ebx, PLAY
    try
    fld dword ptr [rbx]
    tried "64 bits, page not present, FLD"
    try
    fnstcw [rbx]
    tried "FNSTCW"
    run_user32 user32
    fninit
    ret

.code32
user32:
    fninit
    fldcw [control + USER]
    fldz
    fld1
    fdiv st, st(1)
    xor eax, eax
    mov fs, eax
    access t1, fld dword ptr fs:[0]
    access t2, fistp dword ptr fs:[0]
    access t3, fldenv fs:[0]
    access t4, fnstcw fs:[0]
    access t5, fnstenv fs:[0]
    jmp USER_CS:user64 + USER

.code64

user64:
    print_noted
    leave_user

.data
control: .word 0x37b
t1: .asciz "32 bits, null segment, FLD"
t2: .asciz "FISTP"
t3: .asciz "FLDENV"
t4: .asciz "FNSTCW"
t5: .asciz "FNSTENV"
