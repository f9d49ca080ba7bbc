# DR0 to DR3 as breakpoints on instructions: a fault before the instruction, with RF clear in the saved
# flags; RF = 1 hides them for one instruction. A local or a global enable bit suffices; a length other
# than one byte is no match with the first byte of another instruction.
# Intel SDM Vol. 3, "Instruction-Breakpoint Exception Condition", "Debug Registers".
#
# engines: interpreter, timing, qemu
# expect:
#   none enabled:
#   L0: +7/0xff1 +7/0xff1
#   G0: +7/0xff1 +7/0xff1
#   L0, L1: +7/0xff1 +8/0xff2 +7/0xff1 +8/0xff2
#   G2:
#   L0, L3: +7/0xff9 +7/0xff9
#   handler leaves RF clear: the fault comes again, three times
#   L0: +7/0xff1 +7/0xff1 +7/0xff1 +7/0xff1 +7/0xff1
#   user code returns with RF = 1
#    +7/0xff1
#   [exit 0]

.include "runtime.inc"

.macro run_with what, dr7_value
    print "\what:"
    mov eax, \dr7_value
    mov dr7, rax
    run_user user
    xor eax, eax
    mov dr7, rax
    println
.endm

main:
    on_interrupt 1, debug
    user_address rax, here
    mov dr0, rax
    user_address rax, there
    mov dr1, rax
    # Inside an instruction: never.
    user_address rax, there + 1
    mov dr2, rax
    run_with "none enabled", 0
    run_with "L0", 1
    run_with "G0", 2
    run_with "L0, L1", 1 | 4
    run_with "G2", 1 << 5
    # All that match are reported. (Those that match but aren't enabled may be, too.)
    user_address rax, here
    mov dr3, rax
    run_with "L0, L3", 1 | 1 << 6
    xor eax, eax
    mov dr3, rax
    println "handler leaves RF clear: the fault comes again, three times"
    mov dword ptr [rip + without_rf], 3
    run_with "L0", 1
    println "user code returns with RF = 1"
    mov eax, 1
    mov dr7, rax
    mov r12d, 2
    run_user here, 0x202 | RFLAGS_RF
    println
    ret

debug:
    mov rax, [rdi + FRAME_RIP]
    mov rcx, offset user + USER
    sub rax, rcx
    print " +"
    print_dec rax
    print "/"
    mov rcx, dr6
    movzx ecx, cx
    print_hex rcx
    mov ecx, 0xffff0ff0
    mov dr6, rcx
    bt qword ptr [rdi + FRAME_RFLAGS], 16
    jnc 1f
    print "/RF"
1:  cmp dword ptr [rip + without_rf], 0
    je 2f
    dec dword ptr [rip + without_rf]
    ret
2:  or qword ptr [rdi + FRAME_RFLAGS], RFLAGS_RF
    ret

user:
    nop
    mov r12d, 2
here:
    nop
there:
    add eax, 0x12345678
    dec r12d
    jnz here
    leave_user

.data
without_rf: .long 0
