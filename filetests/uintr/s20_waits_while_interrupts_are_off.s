# With IF = 0 the notification stays in IRR and the UPID is unchanged; after STI it is processed one
# instruction later.
# Statement 20. Intel SDM Vol. 3, "User-Interrupt Notification Identification".
#
# engines: interpreter, timing
# expect:
#   upid: ON 1 SN 0 NV 0xec PIR 0x8
#   IRR 0xe0 and up: 0x1000
#   UIRR one instruction after STI: 0x0
#   UIRR two instructions after STI: 0x8
#   upid: ON 0 SN 0 NV 0xec PIR 0x0
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    senduipi_index 3
    mov ecx, 1000
1:  pause
    loop 1b
    show_upid upid
    apic_read APIC_IRR + 0x70
    show "IRR 0xe0 and up", rax
    mov ecx, UINTR_RR
    sti
    # In the shadow of STI.
    rdmsr
    mov r8d, eax
    rdmsr
    mov r9d, eax
    cli
    show "UIRR one instruction after STI", r8
    show "UIRR two instructions after STI", r9
    show_upid upid
    ret
