# The 8259 pair at LINT0 (ExtINT): initialisation, masks, priorities, cascade, IRR and ISR, specific and
# non-specific EOI; edge-triggered lines by default, level-triggered ones by ELCR.
# Intel 8259A data sheet, "Programming the 8259A"; 82371SB, "ELCR1, ELCR2".
#
# engines: interpreter, timing, qemu
# expect:
#   mask of the first: 0xff
#   a masked line
#     IRR of the first: 0x20
#     IRR of the second: 0x0
#     ISR of the first: 0x0
#     ISR of the second: 0x0
#   nothing comes
#   events:
#   unmasked: comes late
#   events: interrupt 0x45
#   stays high: no more
#   events:
#   priorities
#   four lines
#     IRR of the first: 0x2c
#     IRR of the second: 0x48
#     ISR of the first: 0x0
#     ISR of the second: 0x0
#   in this order
#   events: interrupt 0x4b, interrupt 0x4e, interrupt 0x43, interrupt 0x45
#   level
#   quieted at the third time
#   events: interrupt 0x4b, interrupt 0x4b, interrupt 0x4b
#   no EOI
#   line 5
#   events: interrupt 0x45
#   in service
#     IRR of the first: 0x0
#     IRR of the second: 0x0
#     ISR of the first: 0x20
#     ISR of the second: 0x0
#   what is more important, and once
#   events: interrupt 0x4b
#   in service
#     IRR of the first: 0x8
#     IRR of the second: 0x40
#     ISR of the first: 0x24
#     ISR of the second: 0x8
#   all ended
#     IRR of the first: 0xc
#     IRR of the second: 0x40
#     ISR of the first: 0x0
#     ISR of the second: 0x0
#   what was held back
#   events: interrupt 0x4e, interrupt 0x43
#   [exit 0]

.include "runtime.inc"

# line NUMBER, LEVEL. Changes RAX, RDX.
.macro line number, level
    mov dx, 0x2000 + \number
    mov al, \level
    out dx, al
.endm

.macro port number, value
    mov al, \value
    out \number, al
.endm

.macro elcr value
    mov dx, 0x4d1
    mov al, \value
    out dx, al
.endm

# Lets interrupts in for a moment, and shows what came.
.macro listen what
    println "\what"
    sti
    call wait_a_little
    cli
    print_events
.endm

# Shows IRR and ISR of both.
.macro registers what
    println "\what"
    port 0x20, 0x0a
    port 0xa0, 0x0a
    in al, 0x20
    movzx ebx, al
    in al, 0xa0
    movzx ecx, al
    show "  IRR of the first", rbx
    show "  IRR of the second", rcx
    port 0x20, 0x0b
    port 0xa0, 0x0b
    in al, 0x20
    movzx ebx, al
    in al, 0xa0
    movzx ecx, al
    show "  ISR of the first", rbx
    show "  ISR of the second", rcx
.endm

main:
    use_xapic
    # LINT0: ExtINT. LINT1: masked.
    apic_write 0x350, 0x700
    # ICW1 to ICW4; vectors 0x40 and 0x48; all masked.
    port 0x20, 0x11
    port 0xa0, 0x11
    port 0x21, 0x40
    port 0xa1, 0x48
    port 0x21, 4
    port 0xa1, 2
    port 0x21, 1
    port 0xa1, 1
    port 0x21, 0xff
    port 0xa1, 0xff
    in al, 0x21
    movzx eax, al
    show "mask of the first", rax
    elcr 0
    on_interrupt 0x43, take
    on_interrupt 0x45, take
    on_interrupt 0x47, take
    on_interrupt 0x4b, take
    on_interrupt 0x4e, take
    line 3, 0
    line 5, 0
    line 11, 0
    line 14, 0

    line 5, 1
    registers "a masked line"
    listen "nothing comes"
    # All but the timer, the keyboard and the clock.
    port 0x21, 3
    port 0xa1, 1
    listen "unmasked: comes late"
    listen "stays high: no more"
    line 5, 0

    println "priorities"
    line 5, 1
    line 3, 1
    line 14, 1
    line 11, 1
    registers "four lines"
    listen "in this order"
    line 5, 0
    line 3, 0
    line 14, 0
    line 11, 0

    println "level"
    elcr 0x08
    mov dword ptr [rip + quiet_after], 3
    line 11, 1
    listen "quieted at the third time"

    println "no EOI"
    elcr 0
    mov dword ptr [rip + no_eoi], 1
    line 5, 1
    listen "line 5"
    registers "in service"
    line 11, 1
    line 3, 1
    line 14, 1
    listen "what is more important, and once"
    registers "in service"
    mov dword ptr [rip + no_eoi], 0
    # Specific EOI of 3, of 2 (the cascade) and at the second of 3; then a non-specific one.
    port 0xa0, 0x63
    port 0x20, 0x62
    port 0x20, 0x63
    port 0x20, 0x20
    registers "all ended"
    listen "what was held back"
    line 3, 0
    line 5, 0
    line 11, 0
    line 14, 0

    ret

# Notes the vector, ends it at both controllers as needed, quiets line 11 when its time has come.
take:
    mov r8d, [rdi + FRAME_VECTOR]
    mov edi, r8d
    call log_event
    inc dword ptr [rip + taken]
    mov eax, [rip + taken]
    cmp eax, [rip + quiet_after]
    jb 1f
    cmp r8d, 0x4b
    jne 1f
    line 11, 0
1:  cmp dword ptr [rip + no_eoi], 0
    jne 3f
    cmp r8d, 0x48
    jb 2f
    port 0xa0, 0x20
2:  port 0x20, 0x20
3:  ret

wait_a_little:
    mov dword ptr [rip + taken], 0
    mov ecx, 20000
1:  pause
    loop 1b
    ret

.bss
taken: .long 0
quiet_after: .long 0
no_eoi: .long 0
