# A handler that ends with RET pops the vector as its return address: with vector 0 that is a page fault
# at 0.
# Statement 44. Intel SDM Vol. 3, "User-Interrupt Delivery" (the layout of the frame).
#
# engines: interpreter, timing
# expect:
#   user code ended with #PF(0x15)
#   RIP: 0x0
#   on top of the stack now: yes
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup function
    write_msr UINTR_RR, 1
    stui
    run_user user
    show "RIP", [rip + fault_rip]
    mov rbx, [rip + fault_rsp]
    check_address "on top of the stack now", [rbx], user + USER
    ret

function:
    log_mark 'f'
    ret
user:
    nop
    leave_user
