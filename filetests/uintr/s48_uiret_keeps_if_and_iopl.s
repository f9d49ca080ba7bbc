# UIRET restores CF, PF, AF, ZF, SF, TF, DF, OF, NT, RF, AC and ID, and leaves IF, IOPL, VM, VIF and VIP
# as they are, whatever the frame says.
# Statement 48. Intel SDM Vol. 2, "UIRET".
#
# engines: interpreter, timing
# expect:
#   CPL 3, IF = 1, IOPL = 0
#   frame has 0xfffffffffffffeff, RFLAGS: 0x244ed7
#   frame has 0, RFLAGS: 0x202
#   frame has 0x3002, RFLAGS: 0x202
#   frame has 0x200, RFLAGS: 0x202
#   CPL 3, IF = 0, IOPL = 3
#   frame has 0xfffffffffffffeff, RFLAGS: 0x247cd7
#   frame has 0, RFLAGS: 0x3002
#   frame has 0x3002, RFLAGS: 0x3002
#   frame has 0x200, RFLAGS: 0x3002
#   CPL 0, IF = 0, IOPL = 0
#   frame has 0xfffffffffffffeff, RFLAGS: 0x244cd7
#   frame has 0, RFLAGS: 0x2
#   [exit 0]

.include "runtime.inc"

# UIRET with these flags in the frame; TF is tried elsewhere.
.macro return_with flags
    lea rax, [rip + 1f]
    mov rcx, rsp
    push rcx
    mov rcx, \flags
    push rcx
    push rax
    uiret
1:  pushfq
    pop rbx
    push 2
    popfq
    show "frame has \flags, RFLAGS", rbx
.endm

main:
    use_xapic
    uintr_setup log_user_interrupt
    println "CPL 3, IF = 1, IOPL = 0"
    run_user user
    println "CPL 3, IF = 0, IOPL = 3"
    run_user user, 0x3002
    println "CPL 0, IF = 0, IOPL = 0"
    return_with 0xfffffffffffffeff
    return_with 0
    clui
    ret

user:
    return_with 0xfffffffffffffeff
    return_with 0
    return_with 0x3002
    return_with 0x200
    clui
    leave_user
