# UIRET with UIRR not 0: the next delivery pushes the RIP, RFLAGS and RSP that UIRET has just restored,
# though no instruction was executed there.
# Statement 50. Intel SDM Vol. 2, "UIRET"; Vol. 3, "User-Interrupt Delivery".
#
# engines: interpreter, timing
# expect:
#   events: user interrupt 7, t
#   RIP in the frame: yes
#   RSP in the frame: yes
#   RFLAGS in the frame: 0xad7
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    write_msr UINTR_RR, 1 << 7
    run_user user
    print_events
    check_address "RIP in the frame", [rip + ui_rip], target + USER
    check_address "RSP in the frame", [rip + ui_rsp], user_stacks + USER + 0x800
    show "RFLAGS in the frame", [rip + ui_rflags]
    ret

user:
    mov rbx, rsp
    lea rax, [rip + user_stacks + 0x800]
    push rax
    push 0xad7
    lea rax, [rip + target]
    push rax
    uiret
    log_mark 'x'
target:
    log_mark 't'
    mov rsp, rbx
    leave_user
