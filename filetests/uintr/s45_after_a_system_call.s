# A user interrupt that becomes pending in the kernel is delivered right after SYSRET or IRET, with the
# instruction after SYSCALL as saved RIP.
# Statement 45. Intel SDM Vol. 3, "User-Interrupt Delivery".
#
# engines: interpreter, timing
# expect:
#   events: u, s, user interrupt 7, n
#   SYSRET: saved RIP: yes
#   events: u, i, user interrupt 8, n
#   IRET: saved RIP: yes
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    movabs rax, 0x0018000800000000
    write_msr STAR, rax
    write_msr FMASK, 0x700
    lea rax, [rip + by_sysret]
    write_msr LSTAR, rax
    stui
    run_user user
    print_events
    check_address "SYSRET: saved RIP", [rip + ui_rip], next + USER
    lea rax, [rip + by_iret]
    write_msr LSTAR, rax
    run_user user
    print_events
    check_address "IRET: saved RIP", [rip + ui_rip], next + USER
    ret

# The user's return address is in RCX, its flags in R11.
by_sysret:
    mov r8, rcx
    log_mark 's'
    write_msr UINTR_RR, 1 << 7
    mov rcx, r8
    sysretq
by_iret:
    mov r8, rcx
    mov r9, rsp
    log_mark 'i'
    write_msr UINTR_RR, 1 << 8
    push USER_DS
    push r9
    push r11
    push USER_CS
    push r8
    iretq

user:
    log_mark 'u'
    syscall
next:
    log_mark 'n'
    leave_user
