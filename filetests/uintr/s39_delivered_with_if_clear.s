# RFLAGS.IF = 0 at CPL 3 (with IOPL 3): a pending user interrupt is delivered all the same, and the saved
# IF is 0.
# Statement 39. Intel SDM Vol. 3, "User-Interrupt Delivery".
#
# engines: interpreter, timing
# expect:
#   events: user interrupt 7
#   saved RFLAGS: 0x3002
#   events:
#   upid: ON 0 SN 0 NV 0xec PIR 0x100
#   UIRR: 0x0
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    write_msr UINTR_RR, 1 << 7
    stui
    run_user user, 0x3002
    print_events
    show "saved RFLAGS", [rip + ui_rflags]
    # A notification is an interrupt, and waits.
    mov qword ptr [rip + upid + 8], 1 << 8
    send_self_ipi NOTIFY
    run_user user, 0x3002
    print_events
    show_upid upid
    show_uirr
    ret

user:
    mov ecx, 100
1:  pause
    loop 1b
    leave_user
