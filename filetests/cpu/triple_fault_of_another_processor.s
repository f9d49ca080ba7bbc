# A triple fault of one processor of several stops the machine, whichever it is.
# Intel SDM Vol. 3, "Interrupt 8-Double Fault Exception (#DF)".
#
# engines: interpreter, timing
# cpus: 2
# expect:
#   before
#   [triple fault on processor 1]

.include "runtime.inc"

main:
    use_xapic
    start_cpu 1
    println "before"
    on_cpu 1, fail
    wait_cpu 1
    println "after"
    ret

fail:
    lidt [rip + no_idt]
    ud2

.data
no_idt:
    .word 0
    .quad 0
