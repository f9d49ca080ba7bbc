# INIT and start-up IPIs: a processor starts in real mode at the page that the IPI names, with the registers
# as after INIT; a second start-up IPI changes nothing; INIT stops it again, from within HLT too; caches and
# general registers after INIT.
# Intel SDM Vol. 3, "MP Initialization for P6 Family and Later Processors", "Processor State After Reset".
#
# engines: interpreter, timing
# cpus: 2
# expect:
#   turns: 0x1
#   EAX: 0x0
#   EBX: 0x0
#   ECX: 0x0
#   family in EDX: 0x6
#   ESI: 0x0
#   EDI: 0x0
#   EBP: 0x0
#   ESP: 0x0
#   EFLAGS: 0x2
#   CS: 0x900
#   IP: 0x0
#   DS: 0x0
#   SS: 0x0
#   CR0: 0x10
#   CR3: 0x0
#   CR4: 0x0
#   turns after a start-up IPI alone: 0x1
#   turns after INIT and a start-up IPI: 0x2
#   turns after INIT alone: 0x2
#   turns after two start-up IPIs: 0x3
#   the bootstrap processor goes on
#   [exit 0]

.include "runtime.inc"
.set PAGE, 0x9

.macro see number, what
    mov rax, [PAGE * 0x1000 + 0x800 + 8 * \number]
    show "\what", rax
.endm

main:
    use_xapic
    lea rsi, [rip + code]
    mov edi, PAGE * 0x1000
    mov ecx, offset code_end - code
    rep movsb
    call start
    show "turns", [PAGE * 0x1000 + 0xf00]
    see 0, "EAX"
    see 1, "EBX"
    see 2, "ECX"
    see 3, "family in EDX"
    see 4, "ESI"
    see 5, "EDI"
    see 6, "EBP"
    see 7, "ESP"
    see 8, "EFLAGS"
    see 9, "CS"
    see 10, "IP"
    see 11, "DS"
    see 12, "SS"
    see 13, "CR0"
    see 14, "CR3"
    see 15, "CR4"
    # Started a second time while it runs (it halts with interrupts off): nothing.
    send_ipi 1, 0x4600 | PAGE
    call settle
    show "turns after a start-up IPI alone", [PAGE * 0x1000 + 0xf00]
    call start
    show "turns after INIT and a start-up IPI", [PAGE * 0x1000 + 0xf00]
    # One that starts while it waits for it stays: INIT, and then two.
    send_ipi 1, 0x4500
    call settle
    show "turns after INIT alone", [PAGE * 0x1000 + 0xf00]
    send_ipi 1, 0x4600 | PAGE
    send_ipi 1, 0x4600 | PAGE
    call settle
    show "turns after two start-up IPIs", [PAGE * 0x1000 + 0xf00]
    # A start-up IPI for a processor that hasn't got an INIT, the bootstrap processor, is ignored.
    send_ipi 0, 0x4600 | PAGE
    call settle
    println "the bootstrap processor goes on"
    ret

start:
    send_ipi 1, 0x4500
    call settle
    send_ipi 1, 0x4600 | PAGE
settle:
    mov ecx, 200
1:  pause
    loop 1b
    ret

.code16
# At PAGE:0000. Everything is stored before it changes.
code:
    # Without a stack PUSHFD uses 0:FFFC; that is low memory, and free.
    pushfd
    pop dword ptr cs:[0x840]
    mov cs:[0x800], eax
    mov cs:[0x808], ebx
    mov cs:[0x810], ecx
    shr edx, 4
    # Family 6 is all that counts.
    shr edx, 4
    and edx, 0xf
    mov cs:[0x818], edx
    mov cs:[0x820], esi
    mov cs:[0x828], edi
    mov cs:[0x830], ebp
    mov cs:[0x838], esp
    mov ax, cs
    mov cs:[0x848], ax
    mov ax, ds
    mov cs:[0x858], ax
    mov ax, ss
    mov cs:[0x860], ax
    call 1f
1:  pop ax
    sub ax, offset 1b - code
    mov cs:[0x850], ax
    # Caching is as firmware left it.
    mov eax, cr0
    and eax, 0x9fffffff
    mov cs:[0x868], eax
    mov eax, cr3
    mov cs:[0x870], eax
    mov eax, cr4
    mov cs:[0x878], eax
    inc dword ptr cs:[0xf00]
    cli
2:  hlt
    jmp 2b
code_end:
.code64
