# The handler's stack is not mapped: #PF with U = 1 and W = 1, and RSP, RIP, RFLAGS, UIF and UIRR are
# unchanged. Once the page is mapped and the fault has returned, the user interrupt arrives, once.
# Statement 42. Intel SDM Vol. 3, "User-Interrupt Delivery".
#
# engines: interpreter, timing
# expect:
#   error code: 0x6
#   CR2 is the first push: yes
#   RIP: yes
#   RSP: yes
#   RFLAGS but for RF: 0x202
#   UIF: 0x1
#   UIRR: 0x80
#   events: f, user interrupt 7
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    mov eax, PLAY + 0x1001
    write_msr UINTR_STACKADJUST, rax
    write_msr UINTR_RR, 1 << 7
    on_interrupt 14, page_fault
    stui
    run_user user
    print_events
    ret

page_fault:
    mov rbx, rdi
    log_mark 'f'
    show "error code", [rbx + FRAME_ERROR]
    mov eax, PLAY + 0xff8
    mov rcx, cr2
    check "CR2 is the first push", rcx, rax
    check_address "RIP", [rbx + FRAME_RIP], user + USER
    check_address "RSP", [rbx + FRAME_RSP], user_stack_top + USER
    mov rax, [rbx + FRAME_RFLAGS]
    and eax, ~RFLAGS_RF
    show "RFLAGS but for RF", rax
    testui
    setc al
    movzx eax, al
    show "UIF", rax
    show_uirr
    map_page PLAY, page_a, P | W | U
    ret

user:
    nop
    leave_user
