# SENDUIPI checks no privilege: it works at CPL 0, and at CPL 3.
# Statement 18. Intel SDM Vol. 2, "SENDUIPI".
#
# engines: interpreter, timing
# expect:
#   SENDUIPI 1 at CPL 0: done
#   upid: ON 0 SN 1 NV 0xec PIR 0x2
#   SENDUIPI 2 at CPL 3: done
#   upid: ON 0 SN 1 NV 0xec PIR 0x6
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    or byte ptr [rip + upid], UPID_SN
    mov eax, 1
    try
    senduipi rax
    tried "SENDUIPI 1 at CPL 0"
    show_upid upid
    run_user user
    show_upid upid
    ret

user:
    mov eax, 2
    try
    senduipi rax
    tried "SENDUIPI 2 at CPL 3"
    leave_user
