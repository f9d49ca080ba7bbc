# Privilege comes before the operand's segment: LGDT, LIDT and INVPCID at CPL 3 are #GP(0) even if their operand
# lies outside the stack segment, which would be #SS(0).
# Intel SDM Vol. 2, "LGDT/LIDT-Load Global/Interrupt Descriptor Table Register", "INVPCID". The order is what
# processors do.
#
# engines: interpreter
# expect:
#   MOV, outside the stack segment: #SS(0x0)
#   LGDT: #GP(0x0)
#   LIDT: #GP(0x0)
#   INVPCID: #GP(0x0)
#   [exit 0]

.include "runtime.inc"
.set SMALL, FREE_SELECTOR | 3

.macro access what, instruction:vararg
    mov ebp, offset \what
    mov dword ptr [resume_at + USER], offset 772f + USER
    mov dword ptr [fault_vector + USER], -1
    mov ss, ecx
    \instruction
772:
    mov ss, ebx
    call note
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
t1: .asciz "MOV, outside the stack segment"
t2: .asciz "LGDT"
t3: .asciz "LIDT"
t4: .asciz "INVPCID"
