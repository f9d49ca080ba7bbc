# While the thread runs 32-bit code in compatibility mode a notification is processed (EFER.LMA
# counts, not CS.L), but delivery waits until the thread is in 64-bit mode. STUI is #UD meanwhile.
# Statement 29. Intel SDM Vol. 3, "User-Interrupt Delivery". See docs/decisions/uintr-doubts.md.
#
# engines: interpreter, timing
# expect:
#   events before: 0x0
#   upid: ON 0 SN 0 NV 0xec PIR 0x0
#   UIRR seen between: 0x80
#   events: user interrupt 7
#   delivered at the first 64-bit instruction: yes
#   STUI in compatibility mode
#   user code ended with #UD
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    on_interrupt 0x41, look
    or byte ptr [rip + idt + 16 * 0x41 + 5], 0x60
    stui
    mov byte ptr [rip + upid], UPID_ON
    mov qword ptr [rip + upid + 8], 1 << 7
    send_self_ipi NOTIFY
    run_user32 user32
    show_upid upid
    show "UIRR seen between", [rip + between]
    print_events
    check_address "delivered at the first 64-bit instruction", [rip + ui_rip], user64 + USER
    println "STUI in compatibility mode"
    run_user32 stui32
    ret

look:
    read_msr UINTR_RR
    mov [rip + between], rax
    ret

.code32
user32:
    # Until the notification has been processed, and then for a while.
    cmp byte ptr [upid + USER], 0
    jne user32
    mov ecx, 1000
1:  pause
    loop 1b
    # Nothing has come yet.
    mov eax, [event_count + USER]
    mov [before + USER], eax
    # Has the kernel look at UIRR.
    int 0x41
    jmp USER_CS:user64 + USER

stui32:
    .byte 0xf3, 0x0f, 0x01, 0xef
.code64
user64:
    mov eax, [rip + before]
    show "events before", rax
    leave_user

.data
.balign 8
before: .quad -1
between: .quad 0
