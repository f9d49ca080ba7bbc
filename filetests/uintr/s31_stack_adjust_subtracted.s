# UISTACKADJUST = 128 with RSP = ...1005: the handler's RSP is ((RSP - 128) & ~15) - 32, the word at
# RSP + 24 is the old RSP, and the red zone below the old RSP is untouched.
# Statement 31. Intel SDM Vol. 3, "User-Interrupt Delivery".
#
# engines: interpreter, timing
# expect:
#   RSP after UIRET: yes
#   RSP in the handler: yes
#   RSP in the frame: yes
#   red zone untouched: 0x1
#   events: user interrupt 7
#   [exit 0]

.include "runtime.inc"
.set STACK, PLAY + 0x1005

main:
    use_xapic
    uintr_setup log_user_interrupt
    map_page PLAY, page_a, P | W | U
    map_page PLAY + 0x1000, page_b, P | W | U
    write_msr UINTR_RR, 1 << 7
    run_user user
    print_events
    ret

user:
    mov rbx, rsp
    mov edi, STACK - 128
    mov ecx, 128
    mov al, 0x5a
    rep stosb
    mov esp, STACK
    stui
    nop
    mov r12, rsp
    mov rsp, rbx
    check "RSP after UIRET", r12, STACK
    mov eax, STACK - 128
    and eax, -16
    sub eax, 32
    check "RSP in the handler", [rip + ui_entry_rsp], rax
    check "RSP in the frame", [rip + ui_rsp], STACK
    # How many bytes of the red zone are as they were?
    mov edi, STACK - 128
    mov ecx, 128
    mov al, 0x5a
    repe scasb
    sete al
    movzx eax, al
    show "red zone untouched", rax
    leave_user
