# Flexible UIRET (CPUID.(7,1):EDX[17]) takes UIF from bit 1 of the RFLAGS in the frame; without it UIRET
# sets UIF whatever that bit is. This machine's default processor, like Sapphire Rapids, is without.
# Statement 51. Intel SDM Vol. 2, "UIRET".
#
# engines: interpreter, timing
# expect:
#   CPUID flexible UIRET: 0x0
#   frame has 2, UIF: 0x1
#   frame has 0, UIF: 0x1
#   [exit 0]

.include "runtime.inc"

.macro return_with flags
    clui
    lea rax, [rip + 1f]
    mov rcx, rsp
    push rcx
    push \flags
    push rax
    uiret
1:  testui
    setc bl
    movzx ebx, bl
    show "frame has \flags, UIF", rbx
.endm

main:
    use_xapic
    uintr_setup log_user_interrupt
    mov eax, 7
    mov ecx, 1
    cpuid
    shr edx, 17
    and edx, 1
    show "CPUID flexible UIRET", rdx
    run_user user
    ret

user:
    return_with 2
    return_with 0
    clui
    leave_user
