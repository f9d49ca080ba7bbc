# NMI, a maskable interrupt of another vector and a user interrupt are pending at once: they come in
# this order, all before the first user instruction.
# Statement 40. Intel SDM Vol. 3, "Priority Among Concurrent Events"; "User-Interrupt Delivery".
#
# engines: interpreter, timing
# expect:
#   events: NMI, interrupt 0x41, user interrupt 7, u
#   saved RIP of the user interrupt: yes
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    on_interrupt 2, first_nmi
    send_ipi 0, 0x400
1:  pause
    cmp dword ptr [rip + finished], 0
    je 1b
    print_events
    check_address "saved RIP of the user interrupt", [rip + ui_rip], user + USER
    ret

# NMIs are blocked here, and interrupts are off. IRET to user mode opens both.
first_nmi:
    on_interrupt 2, 0
    send_self_ipi 0x41
    send_ipi 0, 0x400
    write_msr UINTR_RR, 1 << 7
    stui
    run_user user
    mov dword ptr [rip + finished], 1
    ret

user:
    log_mark 'u'
    leave_user

.data
.balign 4
finished: .long 0
