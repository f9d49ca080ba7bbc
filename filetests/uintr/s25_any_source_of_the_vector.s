# Only the vector makes a notification: a self-IPI and the APIC timer do what SENDUIPI's IPI does.
# Statement 25. Intel SDM Vol. 3, "User-Interrupt Notification Identification".
#
# engines: interpreter, timing
# expect:
#   self-IPI: events: user interrupt 7
#   upid: ON 0 SN 0 NV 0xec PIR 0x0
#   APIC timer, one-shot: events: user interrupt 9
#   upid: ON 0 SN 0 NV 0xec PIR 0x0
#   ISR 0xe0 and up: 0x0
#   x2APIC self-IPI: events: user interrupt 11
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    mov qword ptr [rip + upid + 8], 1 << 7
    send_self_ipi NOTIFY
    run_user user
    print "self-IPI: "
    print_events
    show_upid upid

    mov qword ptr [rip + upid + 8], 1 << 9
    apic_write APIC_TIMER_DIVIDE, 0xb
    apic_write APIC_LVT_TIMER, NOTIFY
    apic_write APIC_TIMER_INITIAL, 1000
    run_user user
    print "APIC timer, one-shot: "
    print_events
    show_upid upid
    apic_read APIC_ISR + 0x70
    show "ISR 0xe0 and up", rax

    use_x2apic
    mov qword ptr [rip + upid + 8], 1 << 11
    # The self-IPI register of x2APIC mode.
    write_msr 0x83f, NOTIFY
    run_user user
    print "x2APIC self-IPI: "
    print_events
    ret

user:
    stui
    wait_until event_count, 1
    leave_user
