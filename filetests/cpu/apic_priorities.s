# The local APIC delivers the highest class first, one of each priority class at a time; TPR and CR8 are the
# same and hold back their class and those below; PPR; the vector in service is in ISR until EOI; a handler
# that opens interrupts is interrupted by higher classes only.
# Intel SDM Vol. 3, "Task and Processor Priorities", "Interrupt Acceptance for Fixed Interrupts".
#
# engines: interpreter, timing, qemu
# expect:
#   all at once
#   events: interrupt 0x7f, interrupt 0x72, interrupt 0x55, interrupt 0x41
#   a handler that opens interrupts: 0x55 is interrupted by 0x72 only
#   events: interrupt 0x55, interrupt 0x72, e, interrupt 0x5e, interrupt 0x41
#   TPR = 0x50
#   CR8: 0x5
#   PPR: 0x50
#   events: interrupt 0x60
#   TPR = 0x4f, by its subclass not 0x4f
#   events: interrupt 0x5f
#   CR8 = 3
#   TPR: 0x30
#   events: interrupt 0x4f
#   CR8 = 0 inside STI takes effect at once
#   events: a, interrupt 0x88, b
#   without EOI
#   ISR 0x60 and up: 0x40
#   PPR: 0x60
#   events: interrupt 0x70
#   IRR 0x60 and up: 0x2
#   events: interrupt 0x61
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    println "all at once"
    send_self_ipi 0x41
    send_self_ipi 0x72
    send_self_ipi 0x55
    send_self_ipi 0x7f
    send_self_ipi 0x41
    call open
    println "a handler that opens interrupts: 0x55 is interrupted by 0x72 only"
    on_interrupt 0x55, nesting
    send_self_ipi 0x55
    call open
    on_interrupt 0x55, 0
    println "TPR = 0x50"
    apic_write APIC_TPR, 0x50
    mov rax, cr8
    show "CR8", rax
    apic_read APIC_PPR
    show "PPR", rax
    send_self_ipi 0x4f
    send_self_ipi 0x5f
    send_self_ipi 0x60
    call open
    println "TPR = 0x4f, by its subclass not 0x4f"
    apic_write APIC_TPR, 0x4f
    call open
    println "CR8 = 3"
    mov eax, 3
    mov cr8, rax
    apic_read APIC_TPR
    show "TPR", rax
    call open
    println "CR8 = 0 inside STI takes effect at once"
    mov eax, 15
    mov cr8, rax
    send_self_ipi 0x88
    sti
    nop
    nop
    log_mark 'a'
    xor eax, eax
    mov cr8, rax
    log_mark 'b'
    cli
    print_events
    println "without EOI"
    on_interrupt 0x66, no_eoi
    send_self_ipi 0x66
    sti
    nop
    nop
    cli
    apic_read APIC_ISR + 0x30
    show "ISR 0x60 and up", rax
    apic_read APIC_PPR
    show "PPR", rax
    send_self_ipi 0x61
    send_self_ipi 0x70
    call open
    apic_read APIC_IRR + 0x30
    show "IRR 0x60 and up", rax
    # EOI ends the highest in service.
    apic_write APIC_EOI, 0
    call open
    ret

open:
    sti
    nop
    nop
    nop
    nop
    nop
    nop
    cli
    print_events
    ret

nesting:
    mov edi, 0x55
    call log_event
    send_self_ipi 0x72
    send_self_ipi 0x5e
    send_self_ipi 0x41
    sti
    nop
    nop
    nop
    nop
    cli
    log_mark 'e'
    apic_write APIC_EOI, 0
    ret

no_eoi:
    ret
