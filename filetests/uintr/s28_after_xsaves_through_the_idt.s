# After XSAVES has saved component 14, UINV is 0: the vector goes through the IDT, and UIRR in the
# register is unchanged.
# Statement 28. Intel SDM Vol. 1, "User-Interrupt State"; Vol. 2, "XSAVES".
#
# engines: interpreter, timing
# expect:
#   IA32_UINTR_MISC before: 0xec0000000f
#   IA32_UINTR_MISC after: 0xf
#   UIRR: 0x30
#   events: interrupt 0xec
#   upid: ON 0 SN 0 NV 0xec PIR 0x80
#   UIRR: 0x30
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    set_cr4 CR4_OSXSAVE
    write_msr XSS, 1 << 14
    write_msr UINTR_RR, 0x30
    read_msr UINTR_MISC
    show "IA32_UINTR_MISC before", rax
    mov eax, 1 << 14
    xor edx, edx
    xsaves64 [rip + area]
    read_msr UINTR_MISC
    show "IA32_UINTR_MISC after", rax
    show_uirr
    mov qword ptr [rip + upid + 8], 1 << 7
    send_self_ipi NOTIFY
    sti
    nop
    nop
    cli
    print_events
    show_upid upid
    show_uirr
    ret

.bss
.balign 64
area: .skip 1024
