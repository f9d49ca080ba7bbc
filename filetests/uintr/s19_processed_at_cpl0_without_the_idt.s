# A receiver at CPL 0 with IF = 1 takes the notification without its IDT: ON and PIR become 0, UIRR
# gets the requests, IRR and ISR are clear afterwards, and interrupts of equal and lower priority that
# waited behind it come at once.
# Statement 19. Intel SDM Vol. 3, "User-Interrupt Notification Identification" and "Processing".
#
# engines: interpreter, timing
# expect:
#   upid: ON 1 SN 0 NV 0xec PIR 0x28
#   IRR 0xe0 and up: 0x1800
#   IRR 0x40 and up: 0x2
#   events: interrupt 0xeb, interrupt 0x41
#   upid: ON 0 SN 0 NV 0xec PIR 0x0
#   UIRR: 0x28
#   IRR 0xe0 and up: 0x0
#   ISR 0xe0 and up: 0x0
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    # Interrupts are off: the notification and two others wait in IRR, the lowest sent first.
    send_self_ipi 0x41
    send_self_ipi 0xeb
    senduipi_index 3
    senduipi_index 5
    show_upid upid
    apic_read APIC_IRR + 0x70
    show "IRR 0xe0 and up", rax
    apic_read APIC_IRR + 0x20
    show "IRR 0x40 and up", rax
    sti
    nop
    nop
    nop
    cli
    print_events
    show_upid upid
    show_uirr
    apic_read APIC_IRR + 0x70
    show "IRR 0xe0 and up", rax
    apic_read APIC_ISR + 0x70
    show "ISR 0xe0 and up", rax
    ret
