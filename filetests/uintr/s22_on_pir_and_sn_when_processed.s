# Processing looks at nothing but PIR: ON = 1 with PIR = 0 clears ON and delivers nothing; ON = 0 with
# PIR not 0 moves it all the same; so does SN = 1, and SN stays.
# Statement 22. Intel SDM Vol. 3, "User-Interrupt Notification Processing".
#
# engines: interpreter, timing
# expect:
#   ON = 1, PIR = 0
#   upid: ON 0 SN 0 NV 0xec PIR 0x0
#   UIRR: 0x0
#   ON = 0, PIR = 0x10
#   upid: ON 0 SN 0 NV 0xec PIR 0x0
#   UIRR: 0x10
#   ON = 0, SN = 1, PIR = 0x20
#   upid: ON 0 SN 1 NV 0xec PIR 0x0
#   UIRR: 0x30
#   ON = 1, SN = 1, PIR = 0x40
#   upid: ON 0 SN 1 NV 0xec PIR 0x0
#   UIRR: 0x70
#   a reserved bit, PIR = 0x80
#   upid: ON 0 SN 0 NV 0xec PIR 0x0
#   UIRR: 0xf0
#   UPID low quadword: 0xec0080
#   events: user interrupt 7, user interrupt 6, user interrupt 5, user interrupt 4
#   [exit 0]

.include "runtime.inc"

.macro case what, status, pir
    println "\what"
    mov byte ptr [rip + upid], \status
    mov qword ptr [rip + upid + 8], \pir
    call notify
.endm

main:
    use_xapic
    uintr_setup log_user_interrupt
    case "ON = 1, PIR = 0", UPID_ON, 0
    case "ON = 0, PIR = 0x10", 0, 0x10
    case "ON = 0, SN = 1, PIR = 0x20", UPID_SN, 0x20
    case "ON = 1, SN = 1, PIR = 0x40", UPID_ON | UPID_SN, 0x40
    # Reserved bits fault in SENDUIPI, not here.
    case "a reserved bit, PIR = 0x80", 0x80, 0x80
    show "UPID low quadword", [rip + upid]
    run_user user
    print_events
    ret

notify:
    send_self_ipi NOTIFY
    sti
    nop
    nop
    cli
    show_upid upid
    show_uirr
    ret

user:
    stui
    nop
    leave_user
