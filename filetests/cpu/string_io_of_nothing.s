# INS and OUTS with a repeat prefix check the permission of their port even if the count is zero. Nothing
# is transferred, and the memory operand is not looked at.
# Intel SDM Vol. 2, "INS/INSB/INSW/INSD-Input from Port to String", "REP/REPE/REPZ/REPNE/REPNZ-Repeat String
# Operation Prefix". That the permission comes first is what processors do; the manual shows no order.
#
# engines: interpreter, qemu
# expect:
#   REP INSB of nothing, not permitted: #GP(0x0)
#   REP OUTSB of nothing, not permitted: #GP(0x0)
#   REP OUTSD of nothing, permitted: done
#   [exit 0]

.include "runtime.inc"

main:
    run_user user
    run_user permitted, 0x3202
    ret

user:
    xor ecx, ecx
    mov edx, 0xe0
    mov edi, PLAY
    mov esi, PLAY
    try
    rep insb
    tried "REP INSB of nothing, not permitted"
    try
    rep outsb
    tried "REP OUTSB of nothing, not permitted"
    leave_user

permitted:
    xor ecx, ecx
    mov edx, 0xe0
    mov esi, PLAY
    try
    rep outsd
    tried "REP OUTSD of nothing, permitted"
    leave_user
