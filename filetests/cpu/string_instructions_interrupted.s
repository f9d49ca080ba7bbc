# A timer interrupts long string instructions over and over; each resumes and its result is as if nothing
# had happened. RF is set in the saved flags in the middle.
# Intel SDM Vol. 2, "REP/REPE/REPZ/REPNE/REPNZ"; Vol. 3, "Instruction-Breakpoint Exception Condition".
#
# engines: interpreter, timing
# ticks: instructions
# expect:
#   RCX 0x0, ZF 0, interrupted inside: 1, RF missing: 0
#   RCX 0x0, ZF 0, interrupted inside: 1, RF missing: 0
#   RCX 0x0, ZF 1, interrupted inside: 1, RF missing: 0
#   RCX 0x0, ZF 0, interrupted inside: 1, RF missing: 0
#   RCX 0x0, ZF 0, interrupted inside: 1, RF missing: 0
#   [exit 0]

.include "runtime.inc"
.set FROM, 0x400000
.set TO, 0x600000
.set LENGTH, 0x80000

main:
    use_xapic
    on_interrupt 0x41, tick
    # One-shot: the handler starts it again, so that it comes soon after its return.
    apic_write APIC_TIMER_DIVIDE, 0xb
    apic_write APIC_LVT_TIMER, 0x41
    apic_write APIC_TIMER_INITIAL, 50
    sti
    mov rdi, FROM
    mov rax, 0x5a5a5a5a5a5a5a5a
    mov ecx, LENGTH / 8
    mov r15, offset 1f
1:  rep stosq
    call show_and_clear
    mov rsi, FROM
    mov rdi, TO
    mov ecx, LENGTH
    mov r15, offset 2f
2:  rep movsb
    call show_and_clear
    mov rsi, FROM
    mov rdi, TO
    mov ecx, LENGTH / 8
    mov r15, offset 3f
3:  repe cmpsq
    call show_and_clear
    mov rdi, FROM
    mov ecx, LENGTH
    xor eax, eax
    mov r15, offset 4f
4:  repne scasb
    call show_and_clear
    std
    mov rsi, FROM + LENGTH - 8
    mov rdi, TO + LENGTH - 8 + 64
    mov ecx, LENGTH / 8
    mov r15, offset 5f
5:  rep movsq
    cld
    call show_and_clear
    cli
    ret

show_and_clear:
    pushfq
    pop rbx
    cli
    print "RCX "
    print_hex rcx
    and ebx, 0x40
    print ", ZF "
    shr ebx, 6
    print_dec rbx
    print ", interrupted inside: "
    xor eax, eax
    cmp [rip + inside], eax
    setne al
    print_dec rax
    print ", RF missing: "
    print_dec [rip + without_rf]
    println
    mov qword ptr [rip + inside], 0
    mov qword ptr [rip + without_rf], 0
    sti
    ret

# At the instruction (in R15) with RCX between its first value and 0?
tick:
    cmp [rdi + FRAME_RIP], r15
    jne 1f
    inc dword ptr [rip + inside]
    bt qword ptr [rdi + FRAME_RFLAGS], 16
    jc 1f
    inc dword ptr [rip + without_rf]
1:  apic_write APIC_EOI, 0
    apic_write APIC_TIMER_INITIAL, 50
    ret

.data
.balign 8
inside: .quad 0
without_rf: .quad 0
