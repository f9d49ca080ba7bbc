# RFLAGS.TF: a debug trap after each instruction, with DR6.BS. The list shows where each trap came (in
# bytes from the start of the code) and DR6's low 16 bits.
# Intel SDM Vol. 3, "Single-Step Exception Condition", "Masking Exceptions and Interrupts When Switching
# Stacks".
#
# QEMU 7.2 skips the trap of PAUSE.
#
# engines: interpreter, timing
# expect:
#   plain: +1/0x4ff0 +4/0x4ff0 +9/0x4ff0
#   POPF sets TF: +7/0x4ff0 +8/0x4ff0
#   POPF clears TF: +5/0x4ff0 +6/0x4ff0
#   MOV SS and the next: +2/0x4ff0 +5/0x4ff0 +6/0x4ff0
#   REP MOVSB of 3: +7/0x4ff0 +14/0x4ff0 +19/0x4ff0 +19/0x4ff0 +19/0x4ff0 +21/0x4ff0
#   REP MOVSB of 0: +2/0x4ff0 +4/0x4ff0
#   taken branch and call: +3/0x4ff0 +10/0x4ff0 +8/0x4ff0
#   a fault is no step: +1/0x4ff0 +8/0x4ff0 +15/0x4ff0 +25/0x4ff0 +26/0x4ff0
#   INT n is not stepped inside: +1/0x4ff0 +4/0x4ff0
#   SYSCALL with TF in FMASK: +2/0x4ff0 +3/0x4ff0
#   CPUID, PAUSE, NOP: +2/0x4ff0 +4/0x4ff0 +6/0x4ff0 +7/0x4ff0
#   [exit 0]

.include "runtime.inc"

# Runs the code at LABEL at CPL 3 and shows its traps.
.macro stepped what, label, flags=0x302
    print "\what:"
    mov rax, offset \label + USER
    mov [rip + base], rax
    run_user \label, \flags
    println
.endm

main:
    on_interrupt 1, debug
    movabs rax, 0x0018000800000000
    write_msr STAR, rax
    lea rax, [rip + system_call]
    write_msr LSTAR, rax
    write_msr FMASK, 0x700
    on_interrupt 0x41, nothing
    or byte ptr [rip + idt + 16 * 0x41 + 5], 0x60
    stepped "plain", plain
    # TF counts at the start of an instruction: the first one after POPF is stepped.
    stepped "POPF sets TF", by_popf, 0x202
    stepped "POPF clears TF", clears
    stepped "MOV SS and the next", shadow
    stepped "REP MOVSB of 3", string
    stepped "REP MOVSB of 0", empty
    stepped "taken branch and call", branches
    stepped "a fault is no step", faulting
    stepped "INT n is not stepped inside", interrupts
    stepped "SYSCALL with TF in FMASK", system
    stepped "CPUID, PAUSE, NOP", others
    ret

debug:
    mov rax, [rdi + FRAME_RIP]
    sub rax, [rip + base]
    print " +"
    print_dec rax
    print "/"
    mov rcx, dr6
    movzx ecx, cx
    print_hex rcx
    # It is for software to clear.
    mov ecx, 0xffff0ff0
    mov dr6, rcx
    ret

nothing:
    ret

system_call:
    nop
    nop
    sysretq

plain:
    nop
    add eax, 1
    mov ecx, 5
    leave_user

by_popf:
    push 0x302
    popfq
    nop
    nop
    leave_user

clears:
    push 0x202
    popfq
    nop
    leave_user

shadow:
    mov eax, ss
    mov ss, eax
    nop
    nop
    leave_user

string:
    lea rsi, [rip + bytes]
    lea rdi, [rip + bytes + 8]
    mov ecx, 3
    rep movsb
    leave_user
empty:
    xor ecx, ecx
    rep movsb
    leave_user

branches:
    jmp 1f
    nop
1:  call 2f
    leave_user
2:  ret

faulting:
    try
    ud2
    tried_silently
    # The handler behind `try` has cleared TF.
    leave_user

interrupts:
    nop
    int 0x41
    nop
    leave_user
system:
    syscall
    nop
    leave_user
others:
    xor eax, eax
    cpuid
    pause
    nop
    leave_user

.data
.balign 8
bytes: .fill 16, 1, 0
base: .quad 0
