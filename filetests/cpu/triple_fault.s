# An exception while a double fault is delivered shuts the processor down.
# Intel SDM Vol. 3, "Interrupt 8-Double Fault Exception (#DF)".
#
# engines: interpreter, timing, qemu
# expect:
#   before
#   [triple fault on processor 0]

.include "runtime.inc"

main:
    println "before"
    # No IDT at all.
    lidt [rip + no_idt]
    ud2
    println "after"
    ret

.data
no_idt:
    .word 0
    .quad 0
