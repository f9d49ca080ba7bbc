# Inter-processor interrupts: to one, to all but oneself, to all, to oneself; logical destinations; lowest
# priority; NMI; an interrupt that nobody takes; the same in x2APIC mode.
# Intel SDM Vol. 3, "Issuing Interprocessor Interrupts", "Determining IPI Destination".
#
# engines: interpreter, timing
# cpus: 4
# expect:
#   xAPIC: taken by processors 0, 1, 2, 3
#   to 2: 0010
#   to 0: 1000
#   to 9: 0000
#   to 0xff: 1111
#   all: 1111
#   others: 0111
#   self: 1000
#   NMI to 1: 0100
#   NMI to the others: 0111
#   logical 0b1010: 0101
#   logical 0b0001: 1000
#   logical 0b1_0000: 0000
#   lowest priority among 1, 2, 3: 1
#   to 3, level assert: 0001
#   x2APIC
#   to 2: 0010
#   to 0xff: 0000
#   to 0xffffffff: 1111
#   all: 1111
#   others: 0111
#   LDR of processor 0: 0x1
#   logical 0xa: 0101
#   logical cluster 1: 0000
#   self-IPI register: 1000
#   ICR: 0x1000a00000841
#   [exit 0]

.include "runtime.inc"
.set ALL, 2 << 18
.set OTHERS, 3 << 18
.set SELF, 1 << 18
.set LOGICAL, 1 << 11

# Sends, waits, and shows who took it: one digit per processor, how often.
.macro send what, destination, command
    send_ipi \destination, \command
    print "\what: "
    call show_takers
.endm

main:
    use_xapic
    start_cpu 1
    start_cpu 2
    start_cpu 3
    on_interrupt 0x41, taken
    on_interrupt 2, taken_nmi
    println "xAPIC: taken by processors 0, 1, 2, 3"
    on_cpu 1, listen_xapic
    on_cpu 2, listen_xapic
    on_cpu 3, listen_xapic
    wait_until listening, 3
    mov eax, 0xfee000d0
    mov dword ptr [rax], 1 << 24
    sti
    send "to 2", 2, 0x41
    send "to 0", 0, 0x41
    send "to 9", 9, 0x41
    send "to 0xff", 0xff, 0x41
    send "all", 0, 0x41 | ALL
    send "others", 0, 0x41 | OTHERS
    send "self", 0, 0x41 | SELF
    send "NMI to 1", 1, 0x400
    send "NMI to the others", 0, 0x400 | OTHERS
    # Flat logical destinations: processor n has bit n.
    send "logical 0b1010", 0b1010, 0x41 | LOGICAL
    send "logical 0b0001", 0b0001, 0x41 | LOGICAL
    send "logical 0b1_0000", 0b10000, 0x41 | LOGICAL
    # One of them; which, is its own affair.
    send_ipi 0b1110, 0x141 | LOGICAL
    print "lowest priority among 1, 2, 3: "
    call count_takers
    # Level de-assert does nothing (but for INIT on the oldest).
    send "to 3, level assert", 3, 0x4041
    mov dword ptr [rip + finished], 1
    wait_cpu 1
    wait_cpu 2
    wait_cpu 3

    println "x2APIC"
    mov dword ptr [rip + finished], 0
    mov dword ptr [rip + listening], 0
    use_x2apic
    on_cpu 1, listen_x2apic
    on_cpu 2, listen_x2apic
    on_cpu 3, listen_x2apic
    wait_until listening, 3
    send "to 2", 2, 0x41
    send "to 0xff", 0xff, 0x41
    send "to 0xffffffff", 0xffffffff, 0x41
    send "all", 0, 0x41 | ALL
    send "others", 0, 0x41 | OTHERS
    apic_read APIC_LDR
    show "LDR of processor 0", rax
    send "logical 0xa", 0xa, 0x41 | LOGICAL
    send "logical cluster 1", 0x1000a, 0x41 | LOGICAL
    write_msr 0x83f, 0x41
    print "self-IPI register: "
    call show_takers
    # The command register in one piece.
    read_msr 0x830
    show "ICR", rax
    ret

show_takers:
    mov ecx, 200
1:  pause
    loop 1b
    xor ebx, ebx
2:  lea rax, [rip + takers]
    xor edi, edi
    xchg edi, [rax + 4 * rbx]
    call print_number_dec
    inc ebx
    cmp ebx, 4
    jne 2b
    println
    ret
count_takers:
    mov ecx, 200
1:  pause
    loop 1b
    xor ebx, ebx
    xor edi, edi
2:  lea rax, [rip + takers]
    xor ecx, ecx
    xchg ecx, [rax + 4 * rbx]
    add edi, ecx
    inc ebx
    cmp ebx, 4
    jne 2b
    call print_number_dec
    println
    ret

taken:
    call this_cpu
    lea rcx, [rip + takers]
    inc dword ptr [rcx + 4 * rax]
    apic_write APIC_EOI, 0
    ret
taken_nmi:
    call this_cpu
    lea rcx, [rip + takers]
    inc dword ptr [rcx + 4 * rax]
    ret

listen_xapic:
    use_xapic
    # Flat model, and this processor's bit.
    mov eax, 0xfee000e0
    mov dword ptr [rax], -1
    call this_cpu
    mov ecx, eax
    mov eax, 1 << 24
    shl eax, cl
    mov ecx, 0xfee000d0
    mov [rcx], eax
    jmp listen
listen_x2apic:
    use_x2apic
listen:
    lock inc dword ptr [rip + listening]
    sti
1:  pause
    cmp dword ptr [rip + finished], 0
    je 1b
    cli
    ret

.data
.balign 4
takers: .fill 4, 4, 0
listening: .long 0
finished: .long 0
