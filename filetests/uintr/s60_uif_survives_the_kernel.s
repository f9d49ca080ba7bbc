# UIF is unchanged by SYSCALL and SYSRET, by exceptions, interrupts and IRET.
# Statement 60. Intel SDM Vol. 3, "User-Interrupt Delivery".
#
# engines: interpreter, timing
# expect:
#   UIF: 0x1
#     in SYSCALL: 0x1
#   after SYSRET: 0x1
#     in the interrupt: 0x1
#   after IRET from an interrupt: 0x1
#   after IRET from an exception: 0x1
#   UIF: 0x0
#     in SYSCALL: 0x0
#   after SYSRET: 0x0
#     in the interrupt: 0x0
#   after IRET from an interrupt: 0x0
#   after IRET from an exception: 0x0
#   [exit 0]

.include "runtime.inc"

.macro show_uif what
    testui
    setc r15b
    movzx r15d, r15b
    show "\what", r15
.endm

main:
    use_xapic
    uintr_setup log_user_interrupt
    movabs rax, 0x0018000800000000
    write_msr STAR, rax
    lea rax, [rip + system_call]
    write_msr LSTAR, rax
    write_msr FMASK, 0x200
    on_interrupt 0x41, interrupted
    or byte ptr [rip + idt + 16 * 0x41 + 5], 0x60
    run_user user
    ret

system_call:
    show_uif "  in SYSCALL"
    sysretq

interrupted:
    show_uif "  in the interrupt"
    ret

user:
    stui
    call through
    clui
    call through
    leave_user
through:
    show_uif "UIF"
    # RCX and R11 are SYSCALL's.
    syscall
    show_uif "after SYSRET"
    int 0x41
    show_uif "after IRET from an interrupt"
    try
    ud2
    tried_silently
    show_uif "after IRET from an exception"
    ret
