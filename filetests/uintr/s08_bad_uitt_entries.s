# A UITT entry with V = 0, a user vector above 63, or a reserved bit set is #GP(0), and the UPID is
# untouched.
# Statement 8. Intel SDM Vol. 2, "SENDUIPI"; Vol. 3, "User-Interrupt Target Table".
#
# engines: interpreter, timing
# expect:
#   V = 0: SENDUIPI: #GP(0x0)
#   upid: ON 0 SN 1 NV 0xec PIR 0x0
#   bit 1: SENDUIPI: #GP(0x0)
#   upid: ON 0 SN 1 NV 0xec PIR 0x0
#   bit 7: SENDUIPI: #GP(0x0)
#   upid: ON 0 SN 1 NV 0xec PIR 0x0
#   UV = 64: SENDUIPI: #GP(0x0)
#   upid: ON 0 SN 1 NV 0xec PIR 0x0
#   UV = 128: SENDUIPI: #GP(0x0)
#   upid: ON 0 SN 1 NV 0xec PIR 0x0
#   bit 16: SENDUIPI: #GP(0x0)
#   upid: ON 0 SN 1 NV 0xec PIR 0x0
#   bit 63: SENDUIPI: #GP(0x0)
#   upid: ON 0 SN 1 NV 0xec PIR 0x0
#   UPIDADDR bit 0: SENDUIPI: #GP(0x0)
#   upid: ON 0 SN 1 NV 0xec PIR 0x0
#   UPIDADDR bit 5: SENDUIPI: #GP(0x0)
#   upid: ON 0 SN 1 NV 0xec PIR 0x0
#   a good one, UV = 63: SENDUIPI: done
#   upid: ON 0 SN 1 NV 0xec PIR 0x8000000000000000
#   [exit 0]

.include "runtime.inc"

# Entry 1 gets this low quadword and this offset from the UPID's address.
.macro entry what, low, offset
    mov rax, \low
    mov [rip + uitt + 16], rax
    mov rax, offset upid + \offset
    mov [rip + uitt + 24], rax
    print "\what: "
    call send
    show_upid upid
.endm

main:
    use_xapic
    uintr_setup log_user_interrupt
    or byte ptr [rip + upid], UPID_SN
    entry "V = 0", 0x0100, 0
    entry "bit 1", 0x0103, 0
    entry "bit 7", 0x0181, 0
    entry "UV = 64", 0x4001, 0
    entry "UV = 128", 0x8001, 0
    entry "bit 16", 0x10101, 0
    entry "bit 63", 0x8000000000000101, 0
    entry "UPIDADDR bit 0", 0x0101, 1
    entry "UPIDADDR bit 5", 0x0101, 32
    entry "a good one, UV = 63", 0x3f01, 0
    ret

send:
    run_user user
    ret
user:
    mov eax, 1
    try
    senduipi rax
    tried "SENDUIPI"
    leave_user
