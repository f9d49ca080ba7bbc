# xAPIC mode takes the destination from bits 15:8 of NDST and ignores the rest; x2APIC mode takes all
# 32 bits.
# Statement 14. Intel SDM Vol. 3, "User Posted-Interrupt Descriptor".
#
# engines: interpreter, timing
# cpus: 4
# expect:
#   xAPIC
#   NDST 0x300: processor 3
#   NDST 0x3: processor 0
#   NDST 0xabcd02ef: processor 2
#   x2APIC
#   NDST 0x3: processor 3
#   NDST 0x1: processor 1
#   NDST 0x0: processor 0
#   NDST 0x300: nobody
#   [exit 0]

.include "runtime.inc"

# SENDUIPI with this NDST, and who took the IPI.
.macro send ndst
    mov dword ptr [rip + upid], 0x41 << 16
    mov dword ptr [rip + upid + 4], \ndst
    print "NDST \ndst"
    call send_and_see
.endm

main:
    use_xapic
    start_cpu 1
    start_cpu 2
    start_cpu 3
    uintr_setup log_user_interrupt
    on_interrupt 0x41, taken
    println "xAPIC"
    on_cpu 1, listen_xapic
    on_cpu 2, listen_xapic
    on_cpu 3, listen_xapic
    wait_until listening, 3
    send 0x300
    send 0x3
    send 0xabcd02ef
    mov dword ptr [rip + finished], 1
    wait_cpu 1
    wait_cpu 2
    wait_cpu 3

    println "x2APIC"
    use_x2apic
    mov dword ptr [rip + finished], 0
    mov dword ptr [rip + listening], 0
    on_cpu 1, listen_x2apic
    on_cpu 2, listen_x2apic
    on_cpu 3, listen_x2apic
    wait_until listening, 3
    send 0x3
    send 0x1
    send 0x0
    send 0x300
    ret

send_and_see:
    mov dword ptr [rip + taker], -1
    senduipi_index 1
    sti
    mov ecx, 1000
1:  pause
    loop 1b
    cli
    mov eax, [rip + taker]
    cmp eax, -1
    je 2f
    print ": processor "
    print_dec rax
    println
    ret
2:  println ": nobody"
    ret

taken:
    call this_cpu
    mov [rip + taker], eax
    apic_write APIC_EOI, 0
    ret

listen_xapic:
    use_xapic
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
taker: .long -1
listening: .long 0
finished: .long 0
