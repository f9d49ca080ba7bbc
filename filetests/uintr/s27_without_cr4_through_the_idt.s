# CR4.UINTR = 0: the vector UINV goes through the IDT like any other. What was pending in UIRR waits,
# and is delivered once CR4.UINTR is set again.
# Statement 27. Intel SDM Vol. 3, "Enumeration and Enabling of User Interrupts".
#
# engines: interpreter, timing
# expect:
#   events: interrupt 0xec
#   upid: ON 1 SN 0 NV 0xec PIR 0x80
#   UIRR: 0x0
#   events:
#   UIRR: 0x10
#   events: user interrupt 4
#   UIRR: 0x0
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    # UIF = 1 stays while CR4.UINTR changes.
    stui
    clear_cr4 CR4_UINTR
    mov byte ptr [rip + upid], UPID_ON
    mov qword ptr [rip + upid + 8], 1 << 7
    send_self_ipi NOTIFY
    run_user user
    print_events
    show_upid upid
    show_uirr
    write_msr UINTR_RR, 1 << 4
    run_user user
    print_events
    show_uirr
    set_cr4 CR4_UINTR
    run_user user
    print_events
    show_uirr
    ret

user:
    mov ecx, 100
1:  pause
    loop 1b
    leave_user
