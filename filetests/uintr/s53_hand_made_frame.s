# UIRET belongs to no delivery: with a frame made by hand and UIF = 1 already, at CPL 3 and at CPL 0, it
# is a jump that also loads RSP and flags. CPL and selectors stay.
# Statement 53. Intel SDM Vol. 2, "UIRET".
#
# engines: interpreter, timing
# expect:
#   CPL 0
#   status flags: 0x8d7
#   RSP: yes
#   UIF: 0x1
#   CS: 0x8
#   SS: 0x10
#   CPL 3
#   status flags: 0x8d7
#   RSP: yes
#   UIF: 0x1
#   CS: 0x2b
#   SS: 0x23
#   [exit 0]

.include "runtime.inc"

.macro jump
    mov rbx, rsp
    mov rax, rsp
    push rax
    push 0x8d7
    lea rax, [rip + 1f]
    push rax
    uiret
    println "not here"
1:  pushfq
    pop r12
    mov r13, rsp
    testui
    setc r14b
    movzx r14d, r14b
    mov eax, r12d
    and eax, 0x8d7
    show "status flags", rax
    check "RSP", r13, rbx
    show "UIF", r14
    mov eax, cs
    show "CS", rax
    mov eax, ss
    show "SS", rax
.endm

main:
    use_xapic
    uintr_setup log_user_interrupt
    println "CPL 0"
    stui
    jump
    run_user user
    ret

user:
    println "CPL 3"
    jump
    leave_user
