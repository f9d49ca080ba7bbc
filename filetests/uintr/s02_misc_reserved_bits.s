# WRMSR of IA32_UINTR_MISC with a bit of 63:40 set is #GP(0), and the old value is kept.
# Statement 2. Intel SDM Vol. 3, "User-Interrupt MSRs".
#
# engines: interpreter, timing
# expect:
#   WRMSR with bits 39:0: done
#   WRMSR with bit 40: #GP(0x0)
#   the old value is kept: yes
#   WRMSR with bit 41: #GP(0x0)
#   the old value is kept: yes
#   WRMSR with bit 62: #GP(0x0)
#   the old value is kept: yes
#   WRMSR with bit 63: #GP(0x0)
#   the old value is kept: yes
#   [exit 0]

.include "runtime.inc"

.macro refused bit
    try
    write_msr UINTR_MISC, (1 << \bit)
    tried "WRMSR with bit \bit"
    read_msr UINTR_MISC
    check "the old value is kept", rax, r12
.endm

main:
    mov r12, 0xecffffffff
    try
    write_msr UINTR_MISC, r12
    tried "WRMSR with bits 39:0"
    refused 40
    refused 41
    refused 62
    refused 63
    ret
