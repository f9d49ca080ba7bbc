# No user interrupt is delivered at the boundary after MOV to SS. A timer makes the notification come
# at every possible place of a sequence of such instructions; the saved RIP is never the one after MOV
# SS. (POP SS does not exist in 64-bit mode. That the shadow of STI does not hold back delivery can't
# be seen from a program: in that shadow no notification is taken either.)
# Statement 38. Intel SDM Vol. 3, "User-Interrupt Delivery".
#
# engines: interpreter, timing
# ticks: instructions
# expect:
#   before MOV SS: sometimes
#   after MOV SS: never
#   one instruction later: sometimes
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    mov r12d, 1
1:  mov qword ptr [rip + upid + 8], 1 << 7
    mov dword ptr [rip + event_count], 0
    timer_after r12
    run_user user
    mov rax, [rip + ui_rip]
    mov rcx, offset group + USER
    sub rax, rcx
    cmp rax, 4 * 8
    jae 2f
    # Which of the group's instructions it stood before.
    and eax, 3
    lea rcx, [rip + hits]
    inc dword ptr [rcx + 4 * rax]
2:  clui
    inc r12d
    cmp r12d, 200
    jne 1b
    print "before MOV SS: "
    call yes_or_no
    print "after MOV SS: "
    mov ebx, [rip + hits + 4 * 2]
    call print_yes_or_no
    print "one instruction later: "
    mov ebx, [rip + hits + 4 * 3]
    call print_yes_or_no
    ret
yes_or_no:
    mov ebx, [rip + hits]
print_yes_or_no:
    test ebx, ebx
    jz 1f
    println "sometimes"
    ret
1:  println "never"
    ret

user:
    mov eax, USER_DS
    stui
group:
.rept 8
    mov ss, eax
    nop
    nop
.endr
    wait_until event_count, 1
    leave_user

.data
.balign 4
hits: .fill 4, 4, 0
