# An edge-triggered line of the 8259 pair that is low again before the processor acknowledges: the request is
# gone with it, and as the pair's output follows, the processor is not even interrupted.
# Intel 8259A data sheet, "Interrupt Request (IR) inputs": an edge counts if the input stays high until the first
# INTA. QEMU remembers the edge, so that it is no oracle here.
#
# engines: interpreter, timing
# expect:
#   quieted before it is acknowledged
#   nothing is requested
#     IRR of the first: 0x0
#   nothing comes
#   events:
#   [exit 0]

.include "runtime.inc"

# line NUMBER, LEVEL. Changes RAX, RDX.
.macro line number, level
    mov dx, 0x2000 + \number
    mov al, \level
    out dx, al
.endm

.macro port number, value
    mov al, \value
    out \number, al
.endm

# Lets interrupts in for a moment, and shows what came.
.macro listen what
    println "\what"
    sti
    call wait_a_little
    cli
    print_events
.endm

# Shows IRR.
.macro registers what
    println "\what"
    port 0x20, 0x0a
    in al, 0x20
    movzx ebx, al
    show "  IRR of the first", rbx
.endm

main:
    use_xapic
    # LINT0: ExtINT. LINT1: masked.
    apic_write 0x350, 0x700
    # ICW1 to ICW4; vectors 0x40 and 0x48; all masked.
    port 0x20, 0x11
    port 0xa0, 0x11
    port 0x21, 0x40
    port 0xa1, 0x48
    port 0x21, 4
    port 0xa1, 2
    port 0x21, 1
    port 0xa1, 1
    port 0x21, 0xff
    port 0xa1, 0xff
    on_interrupt 0x45, take
    on_interrupt 0x47, take
    line 5, 0
    port 0x21, 3
    println "quieted before it is acknowledged"
    line 5, 1
    line 5, 0
    registers "nothing is requested"
    listen "nothing comes"
    ret

# Notes the vector and ends it.
take:
    mov r8d, [rdi + FRAME_VECTOR]
    mov edi, r8d
    call log_event
    port 0x20, 0x20
    ret

wait_a_little:
    mov ecx, 20000
1:  pause
    loop 1b
    ret
