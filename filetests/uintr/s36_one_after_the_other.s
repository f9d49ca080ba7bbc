# With UIF = 0 in the handler the next user interrupt waits; UIRET lets it in, before the interrupted
# instruction is executed.
# Statement 36. Intel SDM Vol. 3, "User-Interrupt Delivery"; Vol. 2, "UIRET".
#
# engines: interpreter, timing
# expect:
#   events: user interrupt 5, e, user interrupt 3, e, user interrupt 1, e, u
#   deliveries at the first instruction: 3
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup handler
    write_msr UINTR_RR, 0x2a
    stui
    run_user user
    print_events
    print "deliveries at the first instruction: "
    print_dec [rip + at_first]
    println
    ret

user:
    log_mark 'u'
    leave_user

handler:
    push rdi
    mov edi, 0x100
    add edi, [rsp + 8]
    call log_event
    mov rdi, [rsp + 16]
    sub rdi, offset user + USER
    jnz 1f
    inc qword ptr [rip + at_first]
1:  pop rdi
    # Time for the next one to come, if it could.
    nop
    nop
    log_mark 'e'
    add rsp, 8
    uiret

.data
.balign 8
at_first: .quad 0
