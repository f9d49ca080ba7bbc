# Addresses in the MSRs must be canonical for the largest linear-address width that CPUID enumerates.
# This machine enumerates 48 bits (no LA57), so an address that is canonical with 57 bits only is
# refused when it is written; with LA57 the write would succeed and the first delivery fault.
# Statement 4. Intel SDM Vol. 3, "User-Interrupt MSRs".
#
# engines: interpreter, timing
# expect:
#   linear-address bits: 48
#   CPUID LA57: 0x0
#   WRMSR UINTR_HANDLER of 0x00007fffffffffff: done
#   WRMSR UINTR_HANDLER of 0x0000800000000000: #GP(0x0)
#   WRMSR UINTR_HANDLER of 0xffff800000000000: done
#   WRMSR UINTR_STACKADJUST of 0x00007fffffffffff: done
#   WRMSR UINTR_STACKADJUST of 0x0000800000000001: #GP(0x0)
#   WRMSR UINTR_STACKADJUST of 0xffff800000000001: done
#   WRMSR UINTR_PD of 0x00007fffffffffc0: done
#   WRMSR UINTR_PD of 0x0000800000000000: #GP(0x0)
#   WRMSR UINTR_TT of 0x00007ffffffffff1: done
#   WRMSR UINTR_TT of 0x0000800000000001: #GP(0x0)
#   WRMSR UINTR_RR of 0xffffffffffffffff: done
#   [exit 0]

.include "runtime.inc"

.macro write index, value
    try
    write_msr \index, \value
    tried "WRMSR \index of \value"
.endm

main:
    mov eax, 0x80000008
    cpuid
    movzx eax, ah
    print "linear-address bits: "
    print_dec rax
    println
    mov eax, 7
    xor ecx, ecx
    cpuid
    shr ecx, 16
    and ecx, 1
    show "CPUID LA57", rcx
    write UINTR_HANDLER, 0x00007fffffffffff
    write UINTR_HANDLER, 0x0000800000000000
    write UINTR_HANDLER, 0xffff800000000000
    write UINTR_STACKADJUST, 0x00007fffffffffff
    write UINTR_STACKADJUST, 0x0000800000000001
    write UINTR_STACKADJUST, 0xffff800000000001
    write UINTR_PD, 0x00007fffffffffc0
    write UINTR_PD, 0x0000800000000000
    write UINTR_TT, 0x00007ffffffffff1
    write UINTR_TT, 0x0000800000000001
    # A request register takes anything.
    write UINTR_RR, 0xffffffffffffffff
    ret
