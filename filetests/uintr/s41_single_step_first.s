# TF = 1 and a user interrupt becomes deliverable (by STUI): first #DB for the step; after its IRET the
# user interrupt is delivered, with TF = 1 in the frame; the handler is not stepped; after UIRET one
# instruction runs, then #DB.
# Statement 41. Intel SDM Vol. 3, "Priority Among Concurrent Events"; "User-Interrupt Delivery".
#
# engines: interpreter, timing
# expect:
#   events: a, user interrupt 7, b, c, d
#   TF in the frame: 0x100
#   saved RIP: yes
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    on_interrupt 1, debug
    write_msr UINTR_RR, 1 << 7
    run_user user
    print_events
    mov rax, [rip + ui_rflags]
    and eax, RFLAGS_TF
    show "TF in the frame", rax
    check_address "saved RIP", [rip + ui_rip], a + USER
    ret

# Notes at which of the labels a, b, c, d.
debug:
    mov rax, [rdi + FRAME_RIP]
    mov rcx, offset a + USER
    sub rax, rcx
    lea edi, [rax + 0x200 + 'a']
    cmp eax, 8
    jb 1f
    mov edi, 0x200 | '?'
1:  call log_event
    ret

user:
    pushfq
    or qword ptr [rsp], RFLAGS_TF
    popfq
    stui
a:  nop
b:  nop
c:  nop
d:  leave_user
