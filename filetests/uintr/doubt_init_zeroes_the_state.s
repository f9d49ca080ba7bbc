# INIT sets the user-interrupt state to zero, as RESET does. (A doubt; the decision and its reason are in
# docs/decisions/uintr-doubts.md.)
# Intel SDM Vol. 3, "Processor State After Reset".
#
# engines: interpreter, timing
# cpus: 2
# expect:
#   0x985: 0x30
#   0x986: 0x1000
#   0x987: 0x80
#   0x988: 0xec0000000f
#   0x989: 0x2040
#   0x98a: 0x3001
#   UIF: 0x1
#   INIT
#   0x985: 0x0
#   0x986: 0x0
#   0x987: 0x0
#   0x988: 0x0
#   0x989: 0x0
#   0x98a: 0x0
#   UIF: 0x0
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    start_cpu 1
    on_cpu 1, fill
    wait_cpu 1
    on_cpu 1, look
    wait_cpu 1
    println "INIT"
    start_cpu 1
    on_cpu 1, look
    wait_cpu 1
    ret

fill:
    use_xapic
    uintr_setup log_user_interrupt
    write_msr UINTR_HANDLER, 0x1000
    write_msr UINTR_RR, 0x30
    write_msr UINTR_PD, 0x2040
    write_msr UINTR_TT, 0x3001
    stui
    ret

look:
    mov r12d, UINTR_RR
1:  mov ecx, r12d
    rdmsr
    shl rdx, 32
    or rax, rdx
    print_hex r12
    print ": "
    print_hex rax
    println
    inc r12d
    cmp r12d, UINTR_TT + 1
    jne 1b
    # TESTUI is #UD without CR4.UINTR.
    set_cr4 CR4_UINTR
    testui
    setc al
    movzx eax, al
    show "UIF", rax
    ret
