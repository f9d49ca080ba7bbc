# Two processors send different vectors to one UPID at once: no PIR bit is lost, and there is one IPI
# per change of ON from 0 to 1.
# Statement 16. Intel SDM Vol. 2, "SENDUIPI" (the access to the UPID is atomic).
#
# engines: interpreter, timing
# cpus: 3
# limit: 20000000
# expect:
#   rounds: 300
#   rounds in which a bit was lost: 0
#   rounds without exactly one IPI: 0
#   [exit 0]

.include "runtime.inc"
.set ROUNDS, 300

main:
    use_xapic
    start_cpu 1
    start_cpu 2
    uintr_setup log_user_interrupt
    upid_set upid, 0x41, 0
    on_interrupt 0x41, count
    on_cpu 1, sender
    on_cpu 2, sender
    sti
    xor r12d, r12d
    xor r13d, r13d
    xor r14d, r14d
1:  inc r12d
    mov dword ptr [rip + sent], 0
    mov dword ptr [rip + ipis], 0
    and byte ptr [rip + upid], ~UPID_ON
    mov qword ptr [rip + upid + 8], 0
    mov [rip + round], r12d
    wait_until sent, 2
    # The IPI may still be on its way.
    mov ecx, 20
2:  pause
    loop 2b
    mov rax, [rip + upid + 8]
    cmp rax, 6
    je 3f
    inc r13d
3:  cmp dword ptr [rip + ipis], 1
    je 4f
    inc r14d
4:  cmp r12d, ROUNDS
    jne 1b
    wait_cpu 1
    wait_cpu 2
    print "rounds: "
    print_dec r12
    println
    print "rounds in which a bit was lost: "
    print_dec r13
    println
    print "rounds without exactly one IPI: "
    print_dec r14
    println
    cli
    ret

count:
    inc dword ptr [rip + ipis]
    apic_write APIC_EOI, 0
    ret

# Processor n posts vector n.
sender:
    call setup_sender
    call this_cpu
    mov r8, rax
    xor ebx, ebx
1:  inc ebx
2:  pause
    cmp [rip + round], ebx
    jne 2b
    senduipi r8
    lock inc dword ptr [rip + sent]
    cmp ebx, ROUNDS
    jne 1b
    ret
setup_sender:
    use_xapic
    set_cr4 CR4_UINTR
    write_msr UINTR_MISC, 15
    lea rdi, [rip + uitt]
    or rdi, 1
    write_msr UINTR_TT, rdi
    ret

.data
.balign 4
round: .long 0
sent: .long 0
ipis: .long 0
