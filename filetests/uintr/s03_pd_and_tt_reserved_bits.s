# WRMSR of IA32_UINTR_PD with a bit of 5:0 set, and of IA32_UINTR_TT with a bit of 3:1 set, is #GP(0);
# bit 0 of the latter (SENDUIPI enable) is fine.
# Statement 3. Intel SDM Vol. 3, "User-Interrupt MSRs".
#
# engines: interpreter, timing
# expect:
#   WRMSR UINTR_PD of 0x1040: done
#   WRMSR UINTR_PD of 0x1001: #GP(0x0)
#   WRMSR UINTR_PD of 0x1002: #GP(0x0)
#   WRMSR UINTR_PD of 0x1004: #GP(0x0)
#   WRMSR UINTR_PD of 0x1008: #GP(0x0)
#   WRMSR UINTR_PD of 0x1010: #GP(0x0)
#   WRMSR UINTR_PD of 0x1020: #GP(0x0)
#   IA32_UINTR_PD: 0x1040
#   WRMSR UINTR_TT of 0x2010: done
#   WRMSR UINTR_TT of 0x2011: done
#   WRMSR UINTR_TT of 0x2002: #GP(0x0)
#   WRMSR UINTR_TT of 0x2004: #GP(0x0)
#   WRMSR UINTR_TT of 0x2008: #GP(0x0)
#   IA32_UINTR_TT: 0x2011
#   [exit 0]

.include "runtime.inc"

.macro write index, value
    try
    write_msr \index, \value
    tried "WRMSR \index of \value"
.endm

main:
    write UINTR_PD, 0x1040
    write UINTR_PD, 0x1001
    write UINTR_PD, 0x1002
    write UINTR_PD, 0x1004
    write UINTR_PD, 0x1008
    write UINTR_PD, 0x1010
    write UINTR_PD, 0x1020
    read_msr UINTR_PD
    show "IA32_UINTR_PD", rax
    write UINTR_TT, 0x2010
    write UINTR_TT, 0x2011
    write UINTR_TT, 0x2002
    write UINTR_TT, 0x2004
    write UINTR_TT, 0x2008
    read_msr UINTR_TT
    show "IA32_UINTR_TT", rax
    ret
