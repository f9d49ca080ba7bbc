# UISTACKADJUST with bit 0 set is loaded into RSP: the handler's RSP is (A & ~15) - 32 whatever RSP was,
# even if that is no address at all.
# Statement 32. Intel SDM Vol. 3, "User-Interrupt Delivery".
#
# engines: interpreter, timing
# expect:
#   RSP after UIRET: yes
#   RSP in the frame: yes
#   RSP in the handler: yes
#   RSP after UIRET: yes
#   RSP in the frame: yes
#   RSP in the handler: yes
#   events: user interrupt 7, user interrupt 8
#   [exit 0]

.include "runtime.inc"
.set TOP, PLAY + 0xe39

main:
    use_xapic
    uintr_setup log_user_interrupt
    map_page PLAY, page_a, P | W | U
    mov eax, TOP
    write_msr UINTR_STACKADJUST, rax
    write_msr UINTR_RR, 1 << 7
    mov r12, offset user_stack_top + USER - 5
    run_user user
    write_msr UINTR_RR, 1 << 8
    movabs r12, 0x8000000000000001
    run_user user
    print_events
    ret

user:
    mov rbx, rsp
    mov rsp, r12
    stui
    nop
    mov r13, rsp
    mov rsp, rbx
    clui
    check "RSP after UIRET", r13, r12
    check "RSP in the frame", [rip + ui_rsp], r12
    mov eax, PLAY + 0xe30 - 32
    check "RSP in the handler", [rip + ui_entry_rsp], rax
    leave_user
