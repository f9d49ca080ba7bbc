# The APIC timer: one-shot, periodic, TSC-deadline; the count can be read while it runs; masking and writing
# 0 stop it; a change of mode; the divider.
# Intel SDM Vol. 3, "APIC Timer".
#
# engines: interpreter, timing
# expect:
#   the count goes down: 0x1
#   one-shot: events: interrupt 0x41
#   count afterwards: 0x0
#   no second time: events:
#   periodic, more than 5 times: 0x1
#   masked: events:
#   it runs: 0x1
#   stopped by 0: 0x0
#   stopped: events:
#   initial count in deadline mode: events:
#   deadline reads as written: yes
#   deadline: events: interrupt 0x41
#   deadline afterwards: 0x0
#   a deadline in the past: events: interrupt 0x41
#   disarmed by 0: events:
#   disarmed by another mode: events:
#   deadline in one-shot mode: 0x0
#   ignored: events:
#   IRR 0x40 and up: 0x2
#   masked afterwards: events: interrupt 0x41
#   divide by 128 takes 50 times as long as by 2: 0x1
#   [exit 0]

.include "runtime.inc"
.set VECTOR, 0x41
.set PERIODIC, 1 << 17
.set DEADLINE, 2 << 17
.set MASKED, 1 << 16

# Waits some 10000 ticks with interrupts on, and prints what came.
.macro wait_and_print what
    call wait_long
    print "\what: "
    print_events
.endm

main:
    use_xapic
    apic_write APIC_TIMER_DIVIDE, 0xb
    apic_write APIC_LVT_TIMER, VECTOR
    apic_write APIC_TIMER_INITIAL, 500
    apic_read APIC_TIMER_CURRENT
    mov r12d, eax
    apic_read APIC_TIMER_CURRENT
    cmp eax, r12d
    setb al
    movzx eax, al
    show "the count goes down", rax
    wait_and_print "one-shot"
    apic_read APIC_TIMER_CURRENT
    show "count afterwards", rax
    wait_and_print "no second time"
    apic_write APIC_LVT_TIMER, VECTOR | PERIODIC
    apic_write APIC_TIMER_INITIAL, 500
    call wait_long
    mov eax, [rip + event_count]
    cmp eax, 5
    seta al
    movzx eax, al
    show "periodic, more than 5 times", rax
    # Masked: it runs, and nothing comes.
    apic_write APIC_LVT_TIMER, VECTOR | PERIODIC | MASKED
    call wait_long
    mov dword ptr [rip + event_count], 0
    wait_and_print "masked"
    apic_read APIC_TIMER_CURRENT
    test eax, eax
    setnz al
    movzx eax, al
    show "it runs", rax
    apic_write APIC_TIMER_INITIAL, 0
    apic_read APIC_TIMER_CURRENT
    show "stopped by 0", rax
    apic_write APIC_LVT_TIMER, VECTOR
    wait_and_print "stopped"

    # TSC-deadline.
    apic_write APIC_LVT_TIMER, VECTOR | DEADLINE
    # The initial count doesn't count in this mode.
    apic_write APIC_TIMER_INITIAL, 500
    wait_and_print "initial count in deadline mode"
    call deadline_in_1000
    read_msr TSC_DEADLINE
    check "deadline reads as written", rax, r12
    wait_and_print "deadline"
    read_msr TSC_DEADLINE
    show "deadline afterwards", rax
    rdtsc
    sub eax, 100
    shl rdx, 32
    or rax, rdx
    write_msr TSC_DEADLINE, rax
    wait_and_print "a deadline in the past"
    call deadline_in_1000
    write_msr TSC_DEADLINE, 0
    wait_and_print "disarmed by 0"
    # Another mode disarms; so does coming back.
    call deadline_in_1000
    apic_write APIC_LVT_TIMER, VECTOR
    apic_write APIC_LVT_TIMER, VECTOR | DEADLINE
    wait_and_print "disarmed by another mode"
    apic_write APIC_LVT_TIMER, VECTOR
    call deadline_in_1000
    read_msr TSC_DEADLINE
    show "deadline in one-shot mode", rax
    wait_and_print "ignored"
    # It arrives in IRR at CPL 0 with interrupts off, and stays.
    apic_write APIC_LVT_TIMER, VECTOR | DEADLINE
    call deadline_in_1000
    mov ecx, 100
1:  pause
    loop 1b
    apic_read APIC_IRR + 0x20
    show "IRR 0x40 and up", rax
    apic_write APIC_LVT_TIMER, VECTOR | MASKED
    wait_and_print "masked afterwards"
    apic_write APIC_LVT_TIMER, VECTOR
    mov r13d, 0
    call measure
    mov r14, rax
    mov r13d, 0xa
    call measure
    mov ecx, 50
    imul r14, rcx
    cmp rax, r14
    seta al
    movzx eax, al
    show "divide by 128 takes 50 times as long as by 2", rax
    ret

deadline_in_1000:
    rdtsc
    shl rdx, 32
    or rax, rdx
    lea r12, [rax + 1000]
    write_msr TSC_DEADLINE, r12
    ret

# Ticks until a count of 1000 has run down with the divide configuration R13D.
measure:
    mov dword ptr [rip + event_count], 0
    apic_write APIC_TIMER_DIVIDE, r13d
    sti
    apic_write APIC_TIMER_INITIAL, 1000
    rdtsc
    shl rdx, 32
    or rax, rdx
    mov r15, rax
    wait_until event_count, 1
    rdtsc
    shl rdx, 32
    or rax, rdx
    sub rax, r15
    cli
    mov dword ptr [rip + event_count], 0
    ret

wait_long:
    sti
    rdtsc
    shl rdx, 32
    or rax, rdx
    lea rbx, [rax + 10000]
1:  pause
    rdtsc
    shl rdx, 32
    or rax, rdx
    cmp rax, rbx
    jb 1b
    cli
    ret
