# With UIF = 0 at CPL 3 the request reaches UIRR and is not delivered; STUI lets it in before the next
# instruction.
# Statement 23. Intel SDM Vol. 3, "User-Interrupt Delivery"; Vol. 2, "STUI".
#
# engines: interpreter, timing
# expect:
#   upid: ON 0 SN 0 NV 0xec PIR 0x0
#   events:
#   events: user interrupt 3
#   the saved RIP is after STUI: yes
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    run_user user
    ret

user:
    clui
    mov eax, 3
    senduipi rax
    # The notification has been processed when ON is clear again.
    wait_until upid, NOTIFY << 16
    show_upid upid
    print_events
    stui
after_stui:
    nop
    print_events
    check_address "the saved RIP is after STUI", [rip + ui_rip], after_stui + USER
    leave_user
