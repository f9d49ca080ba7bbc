# An IST stack is used whatever the privilege level was, without a nested use being noticed; the new RSP
# is aligned to 16 before the frame is pushed; without IST a handler at CPL 0 goes on on the same stack, and
# from CPL 3 on RSP0.
# Intel SDM Vol. 3, "Interrupt Stack Table", "64-Bit Mode Stack Frame".
#
# QEMU 7.2 has no EXT bit in the error code of the last case, as for other exceptions within exceptions.
#
# engines: interpreter, timing
# expect:
#   CPL 0, no IST
#   top of the frame modulo 16: 0x0
#   far from the interrupted stack: 0x0
#   CPL 0, IST 3
#   top of the frame modulo 16: 0x0
#   below the IST top: 0xb7
#   CPL 3, IST 3
#   top of the frame modulo 16: 0x0
#   below the IST top: 0xb7
#   CPL 3, no IST
#   top of the frame modulo 16: 0x0
#   below RSP0: 0xb0
#   nested on one IST stack
#   frames at the same place: 0x1
#   IST stack not canonical: #SS(0x1)
#   [exit 0]

.include "runtime.inc"
# The TSS of processor 0.
.set RSP0, 4
.set IST1, 0x24

main:
    on_interrupt 6, undefined
    on_interrupt 13, general
    # Unaligned tops.
    lea rax, [rip + page_a + 0xff7]
    mov [rip + task_states + IST1 + 8 * 2], rax
    lea rax, [rip + page_b + 0xffd]
    mov [rip + task_states + IST1 + 8 * 3], rax
    println "CPL 0, no IST"
    mov rbp, rsp
    ud2
    sub rbp, [rip + frame_at]
    and rbp, -256
    show "far from the interrupted stack", rbp
    println "CPL 0, IST 3"
    use_ist 6, 3
    ud2
    call see_ist
    println "CPL 3, IST 3"
    run_user user
    call see_ist
    println "CPL 3, no IST"
    use_ist 6, 0
    run_user user
    mov rax, [rip + task_states + RSP0]
    sub rax, [rip + frame_at]
    show "below RSP0", rax
    # A #GP inside the #UD handler, both with the same IST stack: the first frame is overwritten.
    println "nested on one IST stack"
    use_ist 6, 3
    use_ist 13, 3
    mov dword ptr [rip + nest], 1
    ud2
    show "frames at the same place", [rip + same]
    use_ist 6, 0
    use_ist 13, 0
    # IST stacks that aren't canonical.
    movabs rax, 0x8000000000000000
    mov [rip + task_states + IST1 + 8 * 4], rax
    on_interrupt 6, 0
    use_ist 6, 5
    try
    ud2
    tried "IST stack not canonical"
    ret

see_ist:
    lea rax, [rip + page_a + 0xff7]
    sub rax, [rip + frame_at]
    show "below the IST top", rax
    ret

# RDI is the frame: 15 registers, vector, error code, RIP, CS, RFLAGS, RSP, SS.
undefined:
    mov [rip + frame_at], rdi
    # Skip the UD2.
    add qword ptr [rdi + FRAME_RIP], 2
    cmp dword ptr [rip + nest], 0
    jne 1f
    lea rax, [rdi + FRAME_SS + 8]
    and eax, 15
    show "top of the frame modulo 16", rax
    ret
1:  # Its frame will be lost: what is needed to return is kept here.
    mov r12, [rdi + FRAME_RIP]
    mov r13, [rdi + FRAME_RSP]
    mov r14, rdi
    movabs rax, 0x8000000000000000
    mov al, [rax]

general:
    cmp rdi, r14
    sete al
    movzx eax, al
    mov [rip + same], rax
    mov [rdi + FRAME_RIP], r12
    mov [rdi + FRAME_RSP], r13
    mov qword ptr [rdi + FRAME_CS], KERNEL_CS
    mov qword ptr [rdi + FRAME_SS], KERNEL_DS
    ret

user:
    ud2
    leave_user

.data
.balign 8
frame_at: .quad 0
nest: .quad 0
same: .quad 0
