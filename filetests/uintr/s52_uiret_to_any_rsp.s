# The RSP in the frame may be unaligned, or no address at all: UIRET doesn't look at it.
# Statement 52. Intel SDM Vol. 2, "UIRET".
#
# engines: interpreter, timing
# expect:
#   RSP: 0x1
#   RSP: 0xffffffffffffffff
#   RSP: 0x8000000000000003
#   RSP: 0x0
#   [exit 0]

.include "runtime.inc"

.macro return_to rsp
    movabs rcx, \rsp
    push rcx
    push 2
    lea rax, [rip + 1f]
    push rax
    uiret
1:  mov r13, rsp
    mov rsp, rbx
    show "RSP", r13
.endm

main:
    use_xapic
    uintr_setup log_user_interrupt
    run_user user
    clui
    ret

user:
    mov rbx, rsp
    return_to 0x1
    return_to 0xffffffffffffffff
    return_to 0x8000000000000003
    return_to 0
    leave_user
