# IOAPIC inputs. Edge: one interrupt for each rising edge, none for a level that stays, an edge while masked is
# lost. Level: an interrupt as long as the line is high and the interrupt before was ended; Remote IRR from
# acceptance to EOI; a level that rose while masked interrupts when unmasked.
# Intel 82093AA data sheet, "I/O Redirection Table Registers", "Interrupt Delivery".
#
# engines: interpreter, timing, qemu
# expect:
#   edge
#   a rising edge: 0x1
#   it stays high: 0x0
#   a falling edge: 0x0
#   two edges before the first is taken: 0x1
#   a pulse: 0x1
#   a pulse while masked: 0x0
#   level
#   Remote IRR before: 0x0
#   Remote IRR when high: 0x1
#   lowered by its handler: 0x1
#   Remote IRR afterwards: 0x0
#   lowered by its handler at the fifth time: 0x5
#   lowered before it is taken: 0x1
#   high while masked: 0x0
#   unmasked: 0x1
#   without EOI: 0x1
#   Remote IRR without EOI: 0x1
#   Remote IRR without EOI, low: 0x1
#   Remote IRR after EOI: 0x0
#   after EOI: 0x0
#   [exit 0]

.include "runtime.inc"
.set LINE, 14
.set VECTOR, 0x41
.set LEVEL, 1 << 15
.set MASKED, 1 << 16

# line LEVEL: sets the line. Changes RAX, RDX.
.macro line level
    mov dx, 0x2000 + LINE
    mov al, \level
    out dx, al
.endm

# entry BITS: writes the redirection entry for processor 0. Changes RAX, RDX.
.macro entry bits
    mov edx, 0xfec00000
    mov dword ptr [rdx], 0x11 + 2 * LINE
    mov dword ptr [rdx + 0x10], 0
    mov dword ptr [rdx], 0x10 + 2 * LINE
    mov dword ptr [rdx + 0x10], VECTOR | \bits
.endm

# Prints Remote IRR.
.macro remote_irr what
    mov edx, 0xfec00000
    mov dword ptr [rdx], 0x10 + 2 * LINE
    mov eax, [rdx + 0x10]
    shr eax, 14
    and eax, 1
    show "\what", rax
.endm

# Lets interrupts in for a moment, and shows how many came.
.macro count what
    mov dword ptr [rip + taken], 0
    sti
    call wait_a_little
    cli
    mov eax, [rip + taken]
    show "\what", rax
.endm

main:
    use_xapic
    on_interrupt VECTOR, take
    line 0

    println "edge"
    entry 0
    line 1
    count "a rising edge"
    count "it stays high"
    line 0
    count "a falling edge"
    line 1
    line 0
    line 1
    line 0
    count "two edges before the first is taken"
    line 1
    line 0
    count "a pulse"
    entry MASKED
    line 1
    line 0
    entry 0
    count "a pulse while masked"

    println "level"
    entry LEVEL
    remote_irr "Remote IRR before"
    line 1
    remote_irr "Remote IRR when high"
    mov dword ptr [rip + lower_after], 1
    count "lowered by its handler"
    remote_irr "Remote IRR afterwards"
    line 1
    mov dword ptr [rip + lower_after], 5
    count "lowered by its handler at the fifth time"
    line 1
    line 0
    mov dword ptr [rip + lower_after], 1
    count "lowered before it is taken"
    entry LEVEL | MASKED
    line 1
    count "high while masked"
    entry LEVEL
    mov dword ptr [rip + lower_after], 1
    count "unmasked"
    line 1
    mov dword ptr [rip + no_eoi], 1
    count "without EOI"
    remote_irr "Remote IRR without EOI"
    line 0
    remote_irr "Remote IRR without EOI, low"
    mov dword ptr [rip + no_eoi], 0
    apic_write APIC_EOI, 0
    remote_irr "Remote IRR after EOI"
    count "after EOI"
    ret

take:
    inc dword ptr [rip + taken]
    mov eax, [rip + taken]
    cmp eax, [rip + lower_after]
    jne 1f
    line 0
1:  cmp dword ptr [rip + no_eoi], 0
    jne 2f
    apic_write APIC_EOI, 0
2:  ret

wait_a_little:
    mov ecx, 20000
1:  pause
    loop 1b
    ret

.bss
taken: .long 0
lower_after: .long 0
no_eoi: .long 0
