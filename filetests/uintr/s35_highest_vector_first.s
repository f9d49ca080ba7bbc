# The vector pushed is the highest bit of UIRR; only that bit is cleared; UIF becomes 0.
# Statement 35. Intel SDM Vol. 3, "User-Interrupt Delivery".
#
# engines: interpreter, timing
# expect:
#   vector 63, UIF 0, UIRR: 0x40000000011
#   vector 42, UIF 0, UIRR: 0x11
#   vector 4, UIF 0, UIRR: 0x1
#   vector 0, UIF 0, UIRR: 0x0
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup handler
    movabs r12, 0x8000040000000011
    write_msr UINTR_RR, r12
1:
    stui
    run_user user
    print "vector "
    print_dec [rip + vector]
    testui
    setc al
    movzx eax, al
    print ", UIF "
    print_dec rax
    print ", "
    show_uirr
    test rax, rax
    jnz 1b
    ret

user:
    nop
    leave_user

# Leaves for the kernel at once.
handler:
    pop [rip + vector]
    leave_user

.data
.balign 8
vector: .quad -1
