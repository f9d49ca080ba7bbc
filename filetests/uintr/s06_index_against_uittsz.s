# UITTSZ is the highest valid index, and the whole 64-bit register is compared with it.
# Statement 6. Intel SDM Vol. 2, "SENDUIPI".
#
# engines: interpreter, timing
# expect:
#   UITTSZ = 0
#   SENDUIPI 0: done
#   upid: ON 0 SN 1 NV 0xec PIR 0x1
#   SENDUIPI 1: #GP(0x0)
#   upid: ON 0 SN 1 NV 0xec PIR 0x1
#   SENDUIPI 0x100000000: #GP(0x0)
#   upid: ON 0 SN 1 NV 0xec PIR 0x1
#   SENDUIPI 0xffffffffffffffff: #GP(0x0)
#   upid: ON 0 SN 1 NV 0xec PIR 0x1
#   UITTSZ = 15
#   SENDUIPI 15: done
#   upid: ON 0 SN 1 NV 0xec PIR 0x8001
#   SENDUIPI 16: #GP(0x0)
#   upid: ON 0 SN 1 NV 0xec PIR 0x8001
#   UITTSZ = 0xffffffff
#   SENDUIPI 0x100000000: #GP(0x0)
#   upid: ON 0 SN 1 NV 0xec PIR 0x8001
#   SENDUIPI 0xffffffff: #PF(0x0)
#   upid: ON 0 SN 1 NV 0xec PIR 0x8001
#   [exit 0]

.include "runtime.inc"

.macro send index
    mov rax, \index
    try
    senduipi rax
    tried "SENDUIPI \index"
    show_upid upid
.endm

main:
    use_xapic
    uintr_setup log_user_interrupt
    or byte ptr [rip + upid], UPID_SN
    write_msr UINTR_MISC, 0
    println "UITTSZ = 0"
    run_user one_entry
    write_msr UINTR_MISC, 15
    println "UITTSZ = 15"
    run_user sixteen_entries
    # Beyond the table, but not beyond UITTSZ: there is no memory.
    mov eax, -1
    write_msr UINTR_MISC, rax
    println "UITTSZ = 0xffffffff"
    run_user many_entries
    ret

one_entry:
    send 0
    send 1
    send 0x100000000
    send 0xffffffffffffffff
    leave_user
sixteen_entries:
    send 15
    send 16
    leave_user
many_entries:
    send 0x100000000
    send 0xffffffff
    leave_user
