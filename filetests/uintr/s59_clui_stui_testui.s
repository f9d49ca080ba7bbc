# CLUI: no delivery at the next boundary. STUI: delivery at once. Neither changes a flag. TESTUI gives
# UIF in CF and clears ZF, SF, OF, PF and AF.
# Statement 59. Intel SDM Vol. 2, "CLUI", "STUI", "TESTUI".
#
# engines: interpreter, timing
# expect:
#   status flags afterwards, all set before and none set
#   clui: 0x8d5, 0x0
#   testui: 0x0, 0x0
#   stui: 0x8d5, 0x0
#   testui: 0x1, 0x1
#   events: a, b, user interrupt 7, c
#   delivered after STUI: yes
#   [exit 0]

.include "runtime.inc"

# RFLAGS' status flags after the instruction, when all or none of them were set before it.
.macro flags_after instruction
    push 0x8d7
    popfq
    \instruction
    pushfq
    pop rbx
    push 2
    popfq
    \instruction
    pushfq
    pop r12
    and ebx, 0x8d5
    and r12d, 0x8d5
    print "\instruction: "
    print_hex rbx
    print ", "
    print_hex r12
    println
.endm

main:
    use_xapic
    uintr_setup log_user_interrupt
    println "status flags afterwards, all set before and none set"
    run_user flags
    write_msr UINTR_RR, 1 << 7
    run_user user
    print_events
    check_address "delivered after STUI", [rip + ui_rip], after + USER
    ret

flags:
    flags_after clui
    flags_after testui
    flags_after stui
    flags_after testui
    clui
    leave_user

user:
    log_mark 'a'
    clui
    nop
    log_mark 'b'
    stui
after:
    log_mark 'c'
    leave_user
