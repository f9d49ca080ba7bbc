# ON = 1: the PIR bit is set and no IPI is sent. SN = 1: likewise, and ON stays 0.
# Statement 10. Intel SDM Vol. 2, "SENDUIPI".
#
# engines: interpreter, timing
# expect:
#   upid: ON 1 SN 0 NV 0xec PIR 0x8
#   IRR of 0xe0 and up: 0x0
#   upid: ON 0 SN 1 NV 0xec PIR 0x18
#   IRR of 0xe0 and up: 0x0
#   upid: ON 1 SN 1 NV 0xec PIR 0x38
#   IRR of 0xe0 and up: 0x0
#   [exit 0]

.include "runtime.inc"

# Interrupts are off at CPL 0, so what was sent stands in IRR: bit 12 of 0xe0..0xff.
.macro show_irr
    apic_read APIC_IRR + 0x70
    show "IRR of 0xe0 and up", rax
.endm

main:
    use_xapic
    uintr_setup log_user_interrupt
    or byte ptr [rip + upid], UPID_ON
    senduipi_index 3
    show_upid upid
    show_irr
    and byte ptr [rip + upid], ~UPID_ON
    or byte ptr [rip + upid], UPID_SN
    senduipi_index 4
    show_upid upid
    show_irr
    # Both.
    or byte ptr [rip + upid], UPID_ON
    senduipi_index 5
    show_upid upid
    show_irr
    ret
