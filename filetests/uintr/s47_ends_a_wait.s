# UMWAIT and TPAUSE at CPL 3 end with the notification; the saved RIP is after the instruction.
# Statement 47. Intel SDM Vol. 2, "UMWAIT", "TPAUSE"; Vol. 3, "User-Interrupt Delivery".
#
# engines: interpreter, timing
# expect:
#   TPAUSE: events: user interrupt 7
#   saved RIP: yes
#   UMWAIT: events: user interrupt 8
#   saved RIP: yes
#   TPAUSE with IF = 0: events:
#   upid: ON 0 SN 0 NV 0xec PIR 0x200
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    stui
    mov qword ptr [rip + upid + 8], 1 << 7
    timer_after 20000
    run_user pausing
    print "TPAUSE: "
    print_events
    check_address "saved RIP", [rip + ui_rip], after_pause + USER
    mov qword ptr [rip + upid + 8], 1 << 8
    timer_after 20000
    run_user waiting
    print "UMWAIT: "
    print_events
    check_address "saved RIP", [rip + ui_rip], after_wait + USER
    # With IF = 0 the interrupt ends the wait, but is not taken.
    mov qword ptr [rip + upid + 8], 1 << 9
    timer_after 20000
    run_user pausing, 0x3002
    print "TPAUSE with IF = 0: "
    print_events
    show_upid upid
    ret

# Until the end of time, if nothing happens.
pausing:
    mov eax, -1
    mov edx, 0x7fffffff
    xor ecx, ecx
    tpause ecx
after_pause:
    nop
    leave_user

waiting:
    lea rax, [rip + line]
    umonitor rax
    mov eax, -1
    mov edx, 0x7fffffff
    xor ecx, ecx
    umwait ecx
after_wait:
    nop
    leave_user

.bss
.balign 64
line: .skip 64
