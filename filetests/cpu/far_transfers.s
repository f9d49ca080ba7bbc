# Far jumps, calls and returns in 64-bit mode: into compatibility mode and back, through call gates with and
# without a change of privilege, and what they refuse.
# Intel SDM Vol. 2, "JMP", "CALL", "RET"; Vol. 3, "IA-32e Mode Call Gates".
#
# engines: interpreter, timing, qemu
# expect:
#     CS 0x8, return CS 0x8
#   to KERNEL_CS: done
#     CS 0xf0, return CS 0x8
#   to a conforming segment: done
#     through the gate
#   to a call gate: done
#   to a data segment: #GP(0x10)
#   to null: #GP(0x0)
#   beyond the GDT: #GP(0xff8)
#   to what isn't present: #NP(0xf8)
#   to a code segment of CPL 3: #GP(0x28)
#   to a TSS: #GP(0x50)
#   to an address that isn't canonical: #GP(0x0)
#   CS in compatibility mode: 0x30
#   return address on the stack: yes
#   at CPL 3
#     CS 0x8, SS 0x0, return CS 0x2b, return SS 0x23, below RSP0 32
#   RSP afterwards: yes
#   to a gate of CPL 0: #GP(0xd0)
#   to KERNEL_CS: #GP(0x8)
#   RETF to CPL 0: #GP(0x8)
#   RETF 16: yes
#   [exit 0]

.include "runtime.inc"
.set GATE, FREE_SELECTOR
.set GATE_USER, (FREE_SELECTOR + 16) | 3
.set CONFORMING, FREE_SELECTOR + 32
.set NOT_PRESENT, FREE_SELECTOR + 40

# A 64-bit call gate to LABEL, with this DPL.
.macro call_gate selector, label, dpl
    mov rax, offset \label
    mov rdx, rax
    mov word ptr [rip + gdt + ((\selector) & ~7)], ax
    mov word ptr [rip + gdt + ((\selector) & ~7) + 2], KERNEL_CS
    mov word ptr [rip + gdt + ((\selector) & ~7) + 4], 0x8c00 | (\dpl) << 13
    shr rdx, 16
    mov word ptr [rip + gdt + ((\selector) & ~7) + 6], dx
    mov qword ptr [rip + gdt + ((\selector) & ~7) + 8], 0
.endm

# CALL FAR with a memory operand of 10 bytes in 64-bit size.
.macro far_call what, selector
    mov word ptr [rip + pointer + 8], \selector
    mov rbx, rsp
    try
    rex64 call far ptr [rip + pointer]
    tried_silently
    mov rsp, rbx
    print "\what"
    call print_outcome
.endm

main:
    call_gate GATE, through_gate, 0
    call_gate GATE_USER, from_user, 3
    set_descriptor CONFORMING, 0x00af9f000000ffff
    set_descriptor NOT_PRESENT, 0x00af1b000000ffff
    lea rax, [rip + function]
    mov [rip + pointer], rax

    far_call "to KERNEL_CS", KERNEL_CS
    far_call "to a conforming segment", CONFORMING
    far_call "to a call gate", GATE
    far_call "to a data segment", KERNEL_DS
    far_call "to null", 0
    far_call "beyond the GDT", 0xff8
    far_call "to what isn't present", NOT_PRESENT
    far_call "to a code segment of CPL 3", USER_CS
    far_call "to a TSS", FIRST_TSS
    movabs rax, 0x8000000000000000
    mov [rip + pointer], rax
    far_call "to an address that isn't canonical", KERNEL_CS

    # Into compatibility mode and back, at CPL 0.
    mov dword ptr [rip + pointer], offset code32
    mov word ptr [rip + pointer + 4], KERNEL_CS32
    mov rbx, rsp
    call far ptr [rip + pointer]
after_call32:
    mov rsp, rbx
    show "CS in compatibility mode", [rip + seen]
    check_address "return address on the stack", [rip + returned], after_call32
    println "at CPL 3"
    run_user user
    ret

# Called by a far call: the frame is RIP and CS, 8 bytes each.
function:
    mov eax, cs
    print "  CS "
    print_hex rax
    mov rax, [rsp + 8]
    print ", return CS "
    print_hex rax
    println
    rex64 retf
through_gate:
    println "  through the gate"
    rex64 retf
# From CPL 3: the frame has RSP and SS too, and the stack is RSP0.
from_user:
    mov eax, cs
    print "  CS "
    print_hex rax
    mov eax, ss
    print ", SS "
    print_hex rax
    mov rax, [rsp + 8]
    print ", return CS "
    print_hex rax
    mov rax, [rsp + 24]
    print ", return SS "
    print_hex rax
    mov rax, [rip + task_states + 4]
    sub rax, rsp
    print ", below RSP0 "
    print_dec rax
    println
    rex64 retf

.code32
code32:
    mov eax, cs
    mov [seen], eax
    mov eax, [esp]
    mov [returned], eax
    retf
.code64

user:
    mov word ptr [rip + pointer + 8], GATE_USER
    mov rbx, rsp
    rex64 call far ptr [rip + pointer]
    mov r12, rsp
    check "RSP afterwards", r12, rbx
    far_call "to a gate of CPL 0", GATE
    far_call "to KERNEL_CS", KERNEL_CS
    # RETF to CPL 0.
    mov rbx, rsp
    push KERNEL_CS
    lea rax, [rip + user]
    push rax
    try
    rex64 retf
    tried_silently
    mov rsp, rbx
    print "RETF to CPL 0"
    call print_outcome
    # RETF that releases bytes.
    mov rbx, rsp
    push 0
    push 0
    push USER_CS
    lea rax, [rip + 1f]
    push rax
    rex64 retf 16
1:  mov r12, rsp
    check "RETF 16", r12, rbx
    leave_user

.data
.balign 8
pointer: .quad 0, 0
seen: .quad 0
returned: .quad 0
