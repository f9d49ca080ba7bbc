# MASKMOVDQU's operand need not be aligned. Where alignment is checked (CPL 3, CR0.AM, RFLAGS.AC), it is that
# of the quadwords that it is made of.
# Intel SDM Vol. 2, "MASKMOVDQU-Store Selected Bytes of Double Quadword". That quadwords are what is checked is
# what AMD's processors do.
#
# engines: interpreter
# expect:
#   at 8: done
#   at 4: #AC(0x0)
#   at 4, without RFLAGS.AC: done
#   stored: 0xffffffffffffff00
#   [exit 0]

.include "runtime.inc"

main:
    set_cr0 CR0_AM
    lea rbx, [rip + data]
    movq xmm0, rbx
    pcmpeqb xmm1, xmm1
    pxor xmm0, xmm0
    run_user user, 0x202 | RFLAGS_AC
    run_user unchecked
    ret

user:
    lea rdi, [rip + data + 8]
    try
    maskmovdqu xmm0, xmm1
    tried "at 8"
    lea rdi, [rip + data + 4]
    try
    maskmovdqu xmm0, xmm1
    tried "at 4"
    leave_user

unchecked:
    # One byte only.
    mov eax, 0x80
    movd xmm1, eax
    mov qword ptr [rip + data], -1
    lea rdi, [rip + data]
    add rdi, 4
    try
    maskmovdqu xmm0, xmm1
    tried "at 4, without RFLAGS.AC"
    mov rax, [rip + data + 4]
    mov ecx, 0xffffffff
    shl rcx, 32
    or rax, rcx
    show "stored", rax
    leave_user

.data
.balign 16
data: .fill 4, 8, -1
