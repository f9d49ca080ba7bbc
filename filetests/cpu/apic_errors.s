# What the error status register collects: illegal vectors sent and received, illegal registers. It shows
# what has happened up to the last write to it; an error raises the interrupt of its local vector table
# entry.
# Intel SDM Vol. 3, "Error Handling", "Local Vector Table".
#
# engines: interpreter, timing
# expect:
#   at first: 0x0
#   before the write: 0x0
#   illegal vector sent: 0x20
#   afterwards: 0x0
#   illegal vector of the timer: 0x40
#   illegal register: 0x80
#   events: interrupt 0x42
#   timer entry once disabled: 0x10041
#   it can't be unmasked: 0x10041
#   and stays masked: 0x10041
#   [exit 0]

.include "runtime.inc"
.set APIC_LVT_ERROR, 0x370

.macro show_errors what, mask
    apic_write APIC_ESR, 0
    apic_read APIC_ESR
    and eax, \mask
    show "\what", rax
.endm

main:
    use_xapic
    show_errors "at first", 0xff
    send_ipi 0, 0x05
    apic_read APIC_ESR
    show "before the write", rax
    show_errors "illegal vector sent", 0x20
    show_errors "afterwards", 0xff
    apic_write APIC_LVT_TIMER, 5
    apic_write APIC_TIMER_DIVIDE, 0xb
    apic_write APIC_TIMER_INITIAL, 10
    mov ecx, 100
1:  pause
    loop 1b
    show_errors "illegal vector of the timer", 0x40
    apic_read 0x3f0
    show_errors "illegal register", 0x80
    # The error interrupt.
    apic_write APIC_LVT_ERROR, 0x42
    apic_read 0x3f0
    sti
    nop
    nop
    cli
    print_events
    # Below the software enable bit all entries are masked, and fixed interrupts aren't accepted.
    apic_write APIC_LVT_TIMER, 0x41
    apic_write APIC_SVR, 0xff
    apic_read APIC_LVT_TIMER
    show "timer entry once disabled", rax
    apic_write APIC_LVT_TIMER, 0x41
    apic_read APIC_LVT_TIMER
    show "it can't be unmasked", rax
    apic_write APIC_SVR, 0x1ff
    apic_read APIC_LVT_TIMER
    show "and stays masked", rax
    ret
