# After an NMI further NMIs are blocked until IRET, and one of them is kept; any IRET unblocks, even one that
# belongs to an exception inside the handler. IF doesn't hold NMIs back.
# Intel SDM Vol. 3, "Nonmaskable Interrupt (NMI)", "Handling Multiple NMIs".
#
# engines: interpreter, timing
# expect:
#   events: (, )
#   two more while in the handler
#   events: (, ), (, )
#   an exception with its IRET in the handler
#   events: (, x, (, ), )
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    on_interrupt 2, handler
    # Interrupts are off all the time.
    mov dword ptr [rip + mode], 0
    send_ipi 0, 0x400
    nop
    print_events
    println "two more while in the handler"
    mov dword ptr [rip + mode], 1
    send_ipi 0, 0x400
    nop
    print_events
    println "an exception with its IRET in the handler"
    mov dword ptr [rip + mode], 2
    send_ipi 0, 0x400
    nop
    print_events
    ret

handler:
    log_mark '('
    mov eax, [rip + mode]
    mov dword ptr [rip + mode], 0
    cmp eax, 1
    je 1f
    cmp eax, 2
    je 2f
    log_mark ')'
    ret
1:  send_ipi 0, 0x400
    send_ipi 0, 0x400
    nop
    log_mark ')'
    ret
2:  send_ipi 0, 0x400
    nop
    log_mark 'x'
    try
    ud2
    tried_silently
    log_mark ')'
    ret

.data
mode: .long 0
