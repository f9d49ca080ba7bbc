# A notification that arrives in HLT wakes the processor, is processed, and the processor runs on after
# HLT. (What happens is a doubt; the decision and its reason are in docs/decisions/uintr-doubts.md.) A
# user interrupt that is pending already is no reason to wake.
# Intel SDM Vol. 2, "HLT"; Vol. 3, "User-Interrupt Notification Processing".
#
# engines: interpreter, timing
# expect:
#   HLT is over
#   it took at least 4000 ticks: 1
#   upid: ON 0 SN 0 NV 0xec PIR 0x0
#   UIRR: 0x80
#   it took at least 4000 ticks: 1
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    mov qword ptr [rip + upid + 8], 1 << 7
    timer_after 5000
    rdtsc
    mov r12d, eax
    sti
    hlt
    cli
    rdtsc
    sub eax, r12d
    println "HLT is over"
    print "it took at least 4000 ticks: "
    cmp eax, 4000
    setae al
    movzx eax, al
    print_dec rax
    println
    show_upid upid
    show_uirr

    # UIRR is not 0 and UIF is 1; only the timer ends this HLT.
    stui
    timer_after 5000
    rdtsc
    mov r12d, eax
    sti
    hlt
    cli
    rdtsc
    sub eax, r12d
    print "it took at least 4000 ticks: "
    cmp eax, 4000
    setae al
    movzx eax, al
    print_dec rax
    println
    ret
