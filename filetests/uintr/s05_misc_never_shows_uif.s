# RDMSR of IA32_UINTR_MISC has bit 63 clear whatever UIF is: UIF stands there in XSAVE images only.
# Statement 5. Intel SDM Vol. 3, "User-Interrupt MSRs".
#
# engines: interpreter, timing
# expect:
#   UIF: 0x1
#   IA32_UINTR_MISC: 0xec00000007
#   IA32_UINTR_MISC with UIF = 0: 0xec00000007
#   [exit 0]

.include "runtime.inc"

main:
    set_cr4 CR4_UINTR
    write_msr UINTR_MISC, 0xec00000007
    stui
    testui
    setc bl
    movzx ebx, bl
    show "UIF", rbx
    read_msr UINTR_MISC
    show "IA32_UINTR_MISC", rax
    clui
    read_msr UINTR_MISC
    show "IA32_UINTR_MISC with UIF = 0", rax
    ret
