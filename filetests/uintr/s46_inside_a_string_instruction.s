# A user interrupt in the middle of REP MOVSB: the saved RIP points at the instruction, RF is 1 in the
# saved flags, RCX, RSI and RDI have partly advanced; after UIRET it goes on and copies everything.
# Statement 46. Intel SDM Vol. 3, "User-Interrupt Delivery"; Vol. 2, "REP/REPE/REPZ/REPNE/REPNZ".
#
# engines: interpreter, timing
# ticks: instructions
# expect:
#   interrupted inside
#   RSI has advanced as far: yes
#   RDI has advanced as far: yes
#   RFLAGS: 0x10246
#   after UIRET
#   RCX: 0x0
#   all copied: 0x1
#   [exit 0]

.include "runtime.inc"
.set FROM, 0x400000 + USER
.set TO, 0x800000 + USER
.set LENGTH, 0x100000

main:
    use_xapic
    uintr_setup handler
    # Numbers to copy.
    mov rdi, FROM - USER
    mov ecx, LENGTH / 8
1:  mov [rdi], rcx
    add rdi, 8
    loop 1b
    # The notification comes later and later, until it comes inside.
    xor r12d, r12d
2:  add r12d, 16
    mov qword ptr [rip + upid + 8], 1 << 7
    mov dword ptr [rip + event_count], 0
    timer_after r12
    run_user user
    clui
    cmp r12d, 16 * 1000
    je 3f
    mov rax, [rip + seen_rip]
    cmp rax, offset copy + USER
    jne 2b
    mov rax, [rip + seen_rcx]
    dec rax
    cmp rax, LENGTH - 1
    jae 2b
    println "interrupted inside"
    mov rbx, LENGTH
    sub rbx, [rip + seen_rcx]
    lea rax, [rbx + FROM]
    check "RSI has advanced as far", [rip + seen_rsi], rax
    lea rax, [rbx + TO]
    check "RDI has advanced as far", [rip + seen_rdi], rax
    mov rax, [rip + seen_rflags]
    show "RFLAGS", rax
    println "after UIRET"
    show "RCX", [rip + after_rcx]
    mov rsi, FROM - USER
    mov rdi, TO - USER
    mov ecx, LENGTH / 8
    repe cmpsq
    sete al
    movzx eax, al
    show "all copied", rax
    ret
3:  println "never interrupted inside"
    ret

user:
    mov rsi, FROM
    mov rdi, TO
    # What was copied before goes.
    mov ecx, LENGTH
    xor eax, eax
    rep stosb
    mov rdi, TO
    mov ecx, LENGTH
    stui
copy:
    rep movsb
    mov [rip + after_rcx], rcx
    wait_until event_count, 1
    leave_user

handler:
    mov [rip + seen_rcx], rcx
    mov [rip + seen_rsi], rsi
    mov [rip + seen_rdi], rdi
    pop rax
    mov rax, [rsp]
    mov [rip + seen_rip], rax
    mov rax, [rsp + 8]
    mov [rip + seen_rflags], rax
    mov dword ptr [rip + event_count], 1
    uiret

.data
.balign 8
seen_rcx: .quad 0
seen_rsi: .quad 0
seen_rdi: .quad 0
seen_rip: .quad 0
seen_rflags: .quad 0
after_rcx: .quad 0
