# MOVDIRI stores a doubleword or quadword register, like MOV; a register operand, LOCK and an operand-size
# prefix are #UD.
# Intel SDM Vol. 2, "MOVDIRI".
#
# engines: interpreter, timing
# expect:
#   CPUID MOVDIRI: 0x1
#   32 bits: 0xffffffff55667788
#   64 bits: 0x1122334455667788
#   a page that isn't there: #PF(0x2)
#   an address that isn't canonical: #GP(0x0)
#   LOCK: #UD
#   66: #UD
#   a register operand: #UD
#   [exit 0]

.include "runtime.inc"

main:
    mov eax, 7
    xor ecx, ecx
    cpuid
    shr ecx, 27
    and ecx, 1
    show "CPUID MOVDIRI", rcx
    movabs rax, 0x1122334455667788
    lea rbx, [rip + data]
    movdiri [rbx], eax
    show "32 bits", [rip + data]
    movdiri [rbx], rax
    show "64 bits", [rip + data]
    mov ecx, PLAY
    try
    movdiri [rcx], eax
    tried "a page that isn't there"
    movabs rcx, 0x8000000000000000
    try
    movdiri [rcx], rax
    tried "an address that isn't canonical"
    try
    .byte 0xf0
    movdiri [rbx], eax
    tried "LOCK"
    try
    .byte 0x66
    movdiri [rbx], eax
    tried "66"
    # MOVDIRI EAX, EAX, if there were such a thing.
    try
    .byte 0x0f, 0x38, 0xf9, 0xc0
    tried "a register operand"
    ret

.data
.balign 8
data: .quad -1
