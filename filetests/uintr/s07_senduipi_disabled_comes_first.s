# IA32_UINTR_TT[0] = 0: SENDUIPI is #UD, even with an index that would be #GP(0).
# Statement 7. Intel SDM Vol. 2, "SENDUIPI".
#
# engines: interpreter, timing
# expect:
#   SENDUIPI 3: #UD
#   SENDUIPI -1: #UD
#   upid: ON 0 SN 0 NV 0xec PIR 0x0
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    read_msr UINTR_TT
    and rax, ~1
    write_msr UINTR_TT, rax
    run_user user
    show_upid upid
    ret

user:
    mov eax, 3
    try
    senduipi rax
    tried "SENDUIPI 3"
    mov rax, -1
    try
    senduipi rax
    tried "SENDUIPI -1"
    leave_user
