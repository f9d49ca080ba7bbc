# The notification is an ordinary interrupt for the APIC's priorities: while the class of TPR is not
# below that of the vector it is not processed, even at CPL 3 with UIF = 1.
# Statement 21. Intel SDM Vol. 3, "User-Interrupt Notification Identification"; "Task Priority in IA-32e
# Mode".
#
# engines: interpreter, timing
# expect:
#   TPR class 15
#   upid: ON 1 SN 0 NV 0xec PIR 0x8
#   events:
#   TPR class 14
#   upid: ON 1 SN 0 NV 0xec PIR 0x8
#   events:
#   TPR class 13
#   upid: ON 0 SN 0 NV 0xec PIR 0x0
#   events: user interrupt 3, user interrupt 3
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    # The class of 0xec is 14.
    mov eax, 15
    mov cr8, rax
    println "TPR class 15"
    run_user user
    show_upid upid
    print_events
    mov eax, 14
    mov cr8, rax
    println "TPR class 14"
    run_user user
    show_upid upid
    print_events
    mov eax, 13
    mov cr8, rax
    println "TPR class 13"
    run_user user
    show_upid upid
    print_events
    ret

user:
    stui
    mov eax, 3
    senduipi rax
    mov ecx, 1000
1:  pause
    loop 1b
    leave_user
