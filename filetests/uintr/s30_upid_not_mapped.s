# Processing a notification when UPIDADDR is not mapped: #PF with U = 0 and W = 1, reported at the
# interrupted instruction (here at CPL 0 and at CPL 3), with CR2 in the UPID; the interrupt has been
# dismissed at the APIC already.
# Statement 30. Intel SDM Vol. 3, "User-Interrupt Notification Processing".
#
# engines: interpreter, timing
# expect:
#   at CPL 0: #PF(0x2)
#   CR2: yes
#   IRR 0xe0 and up: 0x0
#   ISR 0xe0 and up: 0x0
#   RIP: yes
#   user code ended with #PF(0x2)
#   CR2: yes
#   IRR 0xe0 and up: 0x0
#   ISR 0xe0 and up: 0x0
#   RIP: yes
#   events:
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    mov eax, PLAY + 0x40
    write_msr UINTR_PD, rax
    send_self_ipi NOTIFY
    try
    sti
    nop
here:
    nop
    cli
    tried "at CPL 0"
    cli
    call particulars
    check_address "RIP", [rip + fault_rip], here
    send_self_ipi NOTIFY
    run_user user
    call particulars
    check_address "RIP", [rip + fault_rip], user + USER
    print_events
    ret

particulars:
    mov eax, PLAY + 0x40
    check "CR2", [rip + fault_cr2], rax
    apic_read APIC_IRR + 0x70
    show "IRR 0xe0 and up", rax
    apic_read APIC_ISR + 0x70
    show "ISR 0xe0 and up", rax
    ret

user:
    leave_user
