# XRSTORS of an image with UIRR not 0 and UIF = 1: the user interrupt is delivered after the return to
# CPL 3.
# Statement 56. Intel SDM Vol. 1, "User-Interrupt State".
#
# engines: interpreter, timing
# expect:
#   UIRR: 0x0
#   events:
#   UIRR: 0x280
#   events: user interrupt 9, user interrupt 7
#   saved RIP: yes
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    set_cr4 CR4_OSXSAVE
    write_msr XSS, 1 << 14
    write_msr UINTR_RR, 1 << 7 | 1 << 9
    stui
    mov eax, 1 << 14
    xor edx, edx
    xsaves64 [rip + area]
    # Another thread has none of it.
    mov qword ptr [rip + empty + 520], 0
    bts qword ptr [rip + empty + 520], 63
    bts qword ptr [rip + empty + 520], 14
    mov eax, 1 << 14
    xor edx, edx
    xrstors64 [rip + empty]
    show_uirr
    run_user user
    print_events
    mov eax, 1 << 14
    xor edx, edx
    xrstors64 [rip + area]
    show_uirr
    run_user user
    print_events
    check_address "saved RIP", [rip + ui_rip], user + USER
    ret

user:
    nop
    leave_user

.bss
.balign 64
area: .skip 1024
empty: .skip 1024
