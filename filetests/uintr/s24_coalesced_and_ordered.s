# A vector that is requested again while it is pending is delivered once; of two pending vectors the
# higher one comes first.
# Statement 24. Intel SDM Vol. 3, "User-Interrupt Notification Processing" and "Delivery".
#
# engines: interpreter, timing
# expect:
#   events: user interrupt 3
#   events: user interrupt 5, user interrupt 3
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    run_user user
    ret

user:
    clui
    mov eax, 3
    senduipi rax
    wait_until upid, NOTIFY << 16
    mov eax, 3
    senduipi rax
    wait_until upid, NOTIFY << 16
    stui
    nop
    print_events

    clui
    mov eax, 3
    senduipi rax
    wait_until upid, NOTIFY << 16
    mov eax, 5
    senduipi rax
    wait_until upid, NOTIFY << 16
    mov eax, 3
    senduipi rax
    wait_until upid, NOTIFY << 16
    stui
    nop
    print_events
    leave_user
