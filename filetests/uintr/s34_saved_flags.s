# The saved RFLAGS are the interrupted ones, TF and RF included; in the handler TF is 0 (so it isn't
# stepped) while DF, AC, NT and ID are as they were. RF can't be read; that the handler runs with RF = 0
# is shown by a breakpoint at its first instruction.
# Statement 34. Intel SDM Vol. 3, "User-Interrupt Delivery".
#
# engines: interpreter, timing
# expect:
#   saved RFLAGS: 0x254703
#   RFLAGS in the handler: 0x244603
#   saved RIP: yes
#   RFLAGS afterwards: 0x244603
#   events: user interrupt 7, d
#   it came at: yes
#   events: d, user interrupt 8
#   breakpoint at: yes
#   [exit 0]

.include "runtime.inc"
.set FLAGS, 0x202 | RFLAGS_CF | RFLAGS_TF | RFLAGS_RF | RFLAGS_DF | RFLAGS_AC | RFLAGS_NT | RFLAGS_ID

main:
    use_xapic
    uintr_setup log_user_interrupt
    on_interrupt 1, debug
    write_msr UINTR_RR, 1 << 7
    stui
    # IRET loads TF and RF, and the user interrupt comes before the first instruction.
    run_user user, FLAGS
    show "saved RFLAGS", [rip + ui_rflags]
    show "RFLAGS in the handler", [rip + ui_entry_rflags]
    check_address "saved RIP", [rip + ui_rip], user + USER
    show "RFLAGS afterwards", [rip + user_rflags]
    # d: a debug exception after the one instruction that followed UIRET.
    print_events
    check_address "it came at", [rip + stepped_to], user_next + USER

    # RF = 1 in the interrupted flags doesn't hide a breakpoint at the handler.
    user_address rax, log_user_interrupt
    mov dr0, rax
    mov eax, 0x401
    mov dr7, rax
    clui
    write_msr UINTR_RR, 1 << 8
    stui
    run_user user, 0x202 | RFLAGS_RF
    print_events
    check_address "breakpoint at", [rip + stepped_to], log_user_interrupt + USER
    ret

debug:
    mov rax, [rdi + FRAME_RIP]
    mov [rip + stepped_to], rax
    and qword ptr [rdi + FRAME_RFLAGS], ~RFLAGS_TF
    or qword ptr [rdi + FRAME_RFLAGS], RFLAGS_RF
    log_mark 'd'
    ret

user:
    nop
user_next:
    leave_user

.data
.balign 8
stepped_to: .quad 0
