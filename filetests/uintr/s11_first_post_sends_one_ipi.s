# ON = SN = 0: ON becomes 1 and exactly one IPI with vector NV goes to NDST; a second SENDUIPI only
# posts.
# Statement 11. Intel SDM Vol. 2, "SENDUIPI".
#
# engines: interpreter, timing
# cpus: 2
# expect:
#   upid: ON 0 SN 0 NV 0x41 PIR 0x0
#   upid: ON 1 SN 0 NV 0x41 PIR 0x80
#   upid: ON 1 SN 0 NV 0x41 PIR 0x280
#   IPIs: 0x1
#   taken by processor: 0x1
#   IRR of processor 0, 0x40 and up: 0x0
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    start_cpu 1
    uintr_setup log_user_interrupt
    # The notification goes to processor 1, which has no UINV and counts it.
    upid_set upid, 0x41, 1
    on_interrupt 0x41, count
    on_cpu 1, listen
    wait_until listening, 1
    show_upid upid
    senduipi_index 7
    show_upid upid
    wait_until count_seen, 1
    senduipi_index 9
    show_upid upid
    mov ecx, 10000
1:  pause
    loop 1b
    mov dword ptr [rip + finished], 1
    wait_cpu 1
    mov eax, [rip + count_seen]
    show "IPIs", rax
    mov eax, [rip + count_cpu]
    show "taken by processor", rax
    apic_read APIC_IRR + 0x20
    show "IRR of processor 0, 0x40 and up", rax
    ret

count:
    call this_cpu
    mov [rip + count_cpu], eax
    lock inc dword ptr [rip + count_seen]
    apic_write APIC_EOI, 0
    ret

listen:
    use_xapic
    mov dword ptr [rip + listening], 1
    sti
1:  pause
    cmp dword ptr [rip + finished], 0
    je 1b
    cli
    ret

.data
listening: .long 0
finished: .long 0
count_seen: .long 0
count_cpu: .long -1
