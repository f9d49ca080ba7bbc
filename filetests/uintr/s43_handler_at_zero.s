# UIHANDLER = 0 is canonical: delivery succeeds, and then fetching at 0 is a page fault, with UIF = 0 and
# a frame on the stack.
# Statement 43. Intel SDM Vol. 3, "User-Interrupt Delivery".
#
# engines: interpreter, timing
# expect:
#   user code ended with #PF(0x15)
#   RIP: 0x0
#   UIF: 0x0
#   UIRR: 0x0
#   vector in the frame: 0x7
#   RIP in the frame: yes
#   RSP in the frame: yes
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    write_msr UINTR_HANDLER, 0
    write_msr UINTR_RR, 1 << 7
    stui
    run_user user
    show "RIP", [rip + fault_rip]
    testui
    setc al
    movzx eax, al
    show "UIF", rax
    show_uirr
    mov rbx, [rip + fault_rsp]
    show "vector in the frame", [rbx]
    check_address "RIP in the frame", [rbx + 8], user + USER
    check_address "RSP in the frame", [rbx + 24], user_stack_top + USER

    # A handler that is not canonical can't be written, see statement 4.
    ret

user:
    nop
    leave_user
