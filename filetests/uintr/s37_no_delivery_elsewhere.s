# No delivery at CPL 0, 1 or 2, with UIF = 0, or in compatibility mode; nothing changes there, and the
# user interrupt comes when the thread is at CPL 3 in 64-bit mode with UIF = 1.
# Statement 37. Intel SDM Vol. 3, "User-Interrupt Delivery".
#
# engines: interpreter, timing
# expect:
#   CPL 0
#   UIF 1, UIRR: 0x80
#   events:
#   CPL 1
#   UIF 1, UIRR: 0x80
#   events: 1
#   CPL 2
#   UIF 1, UIRR: 0x80
#   events: 2
#   CPL 3, compatibility mode
#   UIF 1, UIRR: 0x80
#   events:
#   CPL 3, UIF = 0
#   UIF 0, UIRR: 0x80
#   events:
#   CPL 3, UIF = 1
#   UIF 1, UIRR: 0x0
#   events: user interrupt 7
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    write_msr UINTR_RR, 1 << 7
    stui
    println "CPL 0"
    nop
    call look

    println "CPL 1"
    set_descriptor FREE_SELECTOR, 0x00afbb000000ffff
    set_descriptor FREE_SELECTOR + 8, 0x00cfb3000000ffff
    mov ecx, FREE_SELECTOR | 1
    mov r8d, (FREE_SELECTOR + 8) | 1
    call run_ring

    println "CPL 2"
    set_descriptor FREE_SELECTOR + 16, 0x00afdb000000ffff
    set_descriptor FREE_SELECTOR + 24, 0x00cfd3000000ffff
    mov ecx, (FREE_SELECTOR + 16) | 2
    mov r8d, (FREE_SELECTOR + 24) | 2
    call run_ring

    println "CPL 3, compatibility mode"
    run_user32 user32
    call look

    println "CPL 3, UIF = 0"
    clui
    run_user user
    call look

    println "CPL 3, UIF = 1"
    stui
    run_user user
    call look
    ret

# At a privilege level between: code and stack where they are, on supervisor pages.
run_ring:
    mov rdi, offset ring
    mov rsi, offset user_stack_top
    mov edx, 0x202
    call enter_user
look:
    testui
    setc al
    movzx eax, al
    print "UIF "
    print_dec rax
    print ", "
    show_uirr
    print_events
    ret

ring:
    mov eax, cs
    and eax, 3
    add al, '0'
    mov edi, 0x200
    add edi, eax
    call log_event
    leave_user

user:
    nop
    leave_user
.code32
user32:
    nop
    int 0x80
.code64
