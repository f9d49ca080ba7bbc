# NV other than the receiver's UINV: the receiver takes it through its IDT, ON stays 1 until software
# clears it, and later SENDUIPIs only post.
# Statement 15. Intel SDM Vol. 3, "User-Interrupt Notification Identification".
#
# engines: interpreter, timing
# expect:
#   upid: ON 1 SN 0 NV 0x41 PIR 0x18
#   events: interrupt 0x41
#   upid: ON 1 SN 0 NV 0x41 PIR 0x18
#   events: interrupt 0x41
#   UIRR: 0x0
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    upid_set upid, 0x41, 0
    run_user user
    show_upid upid
    print_events
    # Software clears ON; the next one notifies again.
    and byte ptr [rip + upid], ~UPID_ON
    run_user user
    show_upid upid
    print_events
    show_uirr
    ret

user:
    stui
    mov eax, 3
    senduipi rax
    wait_until event_count, 1
    mov eax, 4
    senduipi rax
    mov ecx, 1000
1:  pause
    loop 1b
    leave_user
