# STI that sets IF holds interrupts back for one instruction; STI with IF set already has no shadow; CLI in
# the shadow lets none in. POPF has no shadow.
# Intel SDM Vol. 2, "STI", "POPF".
#
# engines: interpreter, timing, qemu
# expect:
#   STI: 2
#   STI, STI: 2
#   POPF: 1
#   STI, CLI: none
#   STI, NOP: 2
#   [exit 0]

.include "runtime.inc"

# An interrupt waits; the code between `case` and `end_case` opens. Shows how many bytes of it were executed
# before the interrupt came.
.macro case what
    send_self_ipi 0x41
    mov qword ptr [rip + at], 0
    push 0x202
    print "\what: "
900:
.endm
.macro end_case
    nop
    nop
    nop
    cli
    mov rsp, rbp
    mov rdi, [rip + at]
    test rdi, rdi
    jz 901f
    lea rax, [rip + 900b]
    sub rdi, rax
    call print_number_dec
    println
    jmp 902f
901:
    println "none"
    # It is still waiting.
    sti
    nop
    nop
    cli
902:
.endm

main:
    use_xapic
    on_interrupt 0x41, note
    mov rbp, rsp
    case "STI"
    sti
    end_case
    case "STI, STI"
    sti
    sti
    end_case
    case "POPF"
    popfq
    end_case
    case "STI, CLI"
    sti
    cli
    end_case
    case "STI, NOP"
    sti
    nop
    end_case
    ret

note:
    mov rax, [rdi + FRAME_RIP]
    mov [rip + at], rax
    apic_write APIC_EOI, 0
    ret

.data
.balign 8
at: .quad 0
