# MOVS and CMPS load from the source before anything is checked of the destination: of two faults, the
# source's is reported.
# Intel SDM Vol. 2, "MOVS/MOVSB/MOVSW/MOVSD/MOVSQ-Move Data From String to String", "CMPS". The order is what
# processors do; the manual shows it only in the description of the operation.
#
# engines: interpreter
# expect:
#   MOVSB, source not present, destination null: #PF(0x4)
#   CMPSB: #PF(0x4)
#   MOVSB, source present: #GP(0x0)
#   CMPSB: #GP(0x0)
#   [exit 0]

.include "runtime.inc"

.macro access what, instruction:vararg
    mov ebp, offset \what
    mov dword ptr [resume_at + USER], offset 772f + USER
    mov dword ptr [fault_vector + USER], -1
    \instruction
772:
    call note
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

# Appends the outcome of what EBP is about; the 64-bit code prints.
note:
    push eax
    push ecx
    mov ecx, [outcomes_end + USER]
    mov [ecx + USER], ebp
    mov eax, [fault_vector + USER]
    mov [ecx + 4 + USER], eax
    mov eax, [fault_error + USER]
    mov [ecx + 8 + USER], eax
    add dword ptr [outcomes_end + USER], 12
    pop ecx
    pop eax
    mov dword ptr [resume_at + USER], 0
    ret
.code64

user64:
    lea rbx, [rip + outcomes]
1:  mov edi, [rbx]
    test edi, edi
    jz 2f
    add rdi, USER
    call print_string
    print ": "
    mov edi, [rbx + 4]
    mov esi, [rbx + 8]
    call print_outcome32
    add rbx, 12
    jmp 1b
2:  leave_user

.data
outcomes_end: .long outcomes
outcomes: .fill 3 * 16, 4, 0
data: .quad 0
t1: .asciz "MOVSB, source not present, destination null"
t2: .asciz "CMPSB"
t3: .asciz "MOVSB, source present"
t4: .asciz "CMPSB"
