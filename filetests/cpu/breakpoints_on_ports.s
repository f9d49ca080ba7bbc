# DR0 to DR3 as breakpoints on I/O ports, with CR4.DE set: a trap after IN and OUT, and after the iteration
# of INS and OUTS. The list shows where the trap came (bytes from the start of the code) and DR6's low 16
# bits.
# Intel SDM Vol. 3, "Data Memory and I/O Breakpoint Exception Conditions".
#
# QEMU 7.2 traps once at the end of a repeated INS.
#
# engines: interpreter, timing
# expect:
#   port 0xe2: +2/0xff1 +7/0xff1 +9/0xff1 +11/0xff1 +19/0xff1 +24/0xff1 +26/0xff1
#   ports 0xe2 and 0xe3: +2/0xff1 +4/0xff1 +7/0xff1 +9/0xff1 +11/0xff1 +19/0xff1 +24/0xff1 +26/0xff1
#   not enabled:
#   [exit 0]

.include "runtime.inc"

.macro run_with what, dr7_value
    print "\what:"
    mov eax, \dr7_value
    mov dr7, rax
    lea rdi, [rip + data]
    call code
    xor eax, eax
    mov dr7, rax
    println
.endm

main:
    on_interrupt 1, debug
    mov eax, 0xe2
    mov dr0, rax
    # Nobody answers at these ports.
    set_cr4 8
    run_with "port 0xe2", 2 << 16 | 1
    run_with "ports 0xe2 and 0xe3", 6 << 16 | 1
    run_with "not enabled", 2 << 16
    ret

code:
    in al, 0xe2
    in al, 0xe3
    in ax, 0xe2
    in eax, 0xe0
    out 0xe2, al
    out 0xe1, al
    mov edx, 0xe2
    insb
    mov ecx, 2
    rep insb
    ret

debug:
    mov rax, [rdi + FRAME_RIP]
    mov rcx, offset code
    sub rax, rcx
    print " +"
    print_dec rax
    print "/"
    mov rcx, dr6
    movzx ecx, cx
    print_hex rcx
    mov ecx, 0xffff0ff0
    mov dr6, rcx
    ret

.data
data: .fill 16, 1, 0
