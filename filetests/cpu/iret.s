# IRETQ, IRETD and IRETW in 64-bit mode: what they load, and what they refuse.
# Intel SDM Vol. 2, "IRET/IRETD/IRETQ".
#
# QEMU 7.2 differs: an RIP that is not canonical faults only after IRET; #NP instead of #SS for SS; L and
# D together are accepted.
#
# engines: interpreter, timing
# expect:
#   RSP is loaded: yes
#   RFLAGS: 0x8d7
#   SS: 0x0
#   RIP not canonical: #GP(0x0)
#   CS null: #GP(0x0)
#   CS is data: #GP(0x10)
#   CS beyond the GDT: #GP(0xff8)
#   SS null at CPL 3: #GP(0x0)
#   SS has another RPL: #GP(0x20)
#   SS is code: #GP(0x8)
#   CS not present: #NP(0xd0)
#   SS not present: #SS(0xd8)
#   CS with L and D: #GP(0xe0)
#   NT = 1: #GP(0x0)
#   RSP not canonical: #SS(0x0)
#   CPL 3
#   RFLAGS (IF and IOPL kept): 0xed7
#   to CPL 0: #GP(0x8)
#   SS of CPL 0: #GP(0x10)
#   CS of CPL 0, RPL 3: #GP(0x8)
#   IRETD, RSP: yes
#   IRETW, RSP: 0x7f00
#   FS: 0x0
#   GS: 0x0
#   DS: 0x23
#   [exit 0]

.include "runtime.inc"

# IRETQ with this frame. What is pushed is a constant or a register other than RSP, RAX and RBX.
.macro iret_with what, rip, cs, rflags, rsp, ss
    mov rbx, rsp
    push \ss
    push \rsp
    push \rflags
    push \cs
    push \rip
    try
    iretq
    tried_silently
    mov rsp, rbx
    print "\what"
    call print_outcome
.endm

main:
    # To the same privilege level RSP and SS are loaded as well.
    lea r12, [rip + 1f]
    lea r13, [rip + page_a + 0x800]
    mov rbx, rsp
    push KERNEL_DS
    push r13
    push 0x8d7
    push KERNEL_CS
    push r12
    iretq
1:  pushfq
    pop r14
    mov r15, rsp
    mov rsp, rbx
    check "RSP is loaded", r15, r13
    show "RFLAGS", r14

    # SS may be null at CPL 0.
    lea r12, [rip + 1f]
    mov rbx, rsp
    push 0
    push rbx
    push 2
    push KERNEL_CS
    push r12
    iretq
1:  mov eax, ss
    show "SS", rax
    mov eax, KERNEL_DS
    mov ss, eax

    # What is refused.
    lea r12, [rip + landed]
    mov r13, rsp
    movabs r14, 0x8000000000000000
    iret_with "RIP not canonical", r14, KERNEL_CS, 2, r13, KERNEL_DS
    iret_with "CS null", r12, 0, 2, r13, KERNEL_DS
    iret_with "CS is data", r12, KERNEL_DS, 2, r13, KERNEL_DS
    iret_with "CS beyond the GDT", r12, 0xff8, 2, r13, KERNEL_DS
    iret_with "SS null at CPL 3", r12, USER_CS, 2, r13, 0
    iret_with "SS has another RPL", r12, KERNEL_CS, 2, r13, USER_DS
    iret_with "SS is code", r12, KERNEL_CS, 2, r13, KERNEL_CS
    set_descriptor FREE_SELECTOR, 0x00af1b000000ffff
    set_descriptor FREE_SELECTOR + 8, 0x00cf13000000ffff
    # Both L and D.
    set_descriptor FREE_SELECTOR + 16, 0x00ef9b000000ffff
    iret_with "CS not present", r12, FREE_SELECTOR, 2, r13, KERNEL_DS
    iret_with "SS not present", r12, KERNEL_CS, 2, r13, FREE_SELECTOR + 8
    iret_with "CS with L and D", r12, FREE_SELECTOR + 16, 2, r13, KERNEL_DS
    # NT in the current flags.
    pushfq
    or qword ptr [rsp], RFLAGS_NT
    popfq
    iret_with "NT = 1", r12, KERNEL_CS, 2, r13, KERNEL_DS
    push 2
    popfq
    # A frame that isn't there.
    mov rbx, rsp
    mov rsp, r14
    lea rax, [rip + 1f]
    mov [rip + resume_at], rax
    mov dword ptr [rip + fault_vector], -1
    use_ist 12, 1
    iretq
1:  mov rsp, rbx
    print "RSP not canonical"
    call print_outcome

    # At CPL 3: IF and IOPL are kept, and no way leads further in.
    run_user user

    # IRETD and IRETW pop four and two bytes each, five values.
    mov rbx, rsp
    sub rsp, 20
    lea rax, [rip + 1f]
    mov [rsp], eax
    mov dword ptr [rsp + 4], KERNEL_CS
    mov dword ptr [rsp + 8], 0x2
    mov [rsp + 12], ebx
    mov dword ptr [rsp + 16], KERNEL_DS
    iretd
1:  mov r15, rsp
    mov rsp, rbx
    check "IRETD, RSP", r15, rbx
    sub rsp, 10
    # RIP and RSP have 16 bits.
    mov word ptr [rsp], 0x7000
    mov word ptr [rsp + 2], KERNEL_CS
    mov word ptr [rsp + 4], 2
    mov word ptr [rsp + 6], 0x7f00
    mov word ptr [rsp + 8], KERNEL_DS
    # At 0x7000: JMP R12.
    mov dword ptr [0x7000], 0xe4ff41
    lea r12, [rip + 2f]
    iretw
2:  mov r15, rsp
    mov rsp, rbx
    show "IRETW, RSP", r15

    # To CPL 3 data segments that CPL 3 may not have become null.
    mov eax, KERNEL_DS
    mov fs, eax
    mov gs, eax
    run_user segments
    ret

landed:
    println "this was not to be loaded"
    exit 1

user:
    println "CPL 3"
    lea r12, [rip + 1f]
    mov rbx, rsp
    push USER_DS
    push rbx
    push 0x3dd7
    push USER_CS
    push r12
    # TF is not set here.
    and qword ptr [rsp + 16], ~0x100
    iretq
1:  pushfq
    pop r14
    show "RFLAGS (IF and IOPL kept)", r14
    lea r12, [rip + landed]
    mov r13, rsp
    iret_with "to CPL 0", r12, KERNEL_CS, 2, r13, KERNEL_DS
    iret_with "SS of CPL 0", r12, USER_CS, 2, r13, KERNEL_DS
    # CS of CPL 0 with RPL 3.
    iret_with "CS of CPL 0, RPL 3", r12, KERNEL_CS | 3, 2, r13, USER_DS
    leave_user

segments:
    mov eax, fs
    show "FS", rax
    mov eax, gs
    show "GS", rax
    mov eax, ds
    show "DS", rax
    leave_user
