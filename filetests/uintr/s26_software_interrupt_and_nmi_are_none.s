# INT n with n = UINV goes through the IDT; an NMI is no notification either. UPID and UIRR are
# untouched.
# Statement 26. Intel SDM Vol. 3, "User-Interrupt Notification Identification".
#
# engines: interpreter, timing
# expect:
#   events: interrupt 0xec
#   upid: ON 0 SN 0 NV 0xec PIR 0x80
#   UIRR: 0x0
#   events: NMI
#   upid: ON 0 SN 0 NV 0xec PIR 0x80
#   UIRR: 0x0
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    mov qword ptr [rip + upid + 8], 1 << 7
    # User code may call this gate.
    or byte ptr [rip + idt + 16 * NOTIFY + 5], 0x60
    run_user user
    print_events
    show_upid upid
    show_uirr
    # An NMI, with the vector in the command that it does not use.
    send_ipi 0, 0x400 | NOTIFY
    mov ecx, 100
1:  pause
    loop 1b
    print_events
    show_upid upid
    show_uirr
    ret

user:
    stui
    int NOTIFY
    leave_user
