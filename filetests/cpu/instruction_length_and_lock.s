# More than 15 bytes are #GP(0), whatever they would mean; LOCK before anything but a read-modify-write
# of memory is #UD.
# Intel SDM Vol. 2, "Instruction Format", "LOCK"; Vol. 3, "Interrupt 13".
#
# QEMU 7.2 ignores LOCK before most instructions.
#
# engines: interpreter, timing
# expect:
#   15 bytes: done
#   16 bytes: #GP(0x0)
#   6 prefixes and an instruction of 10 bytes: #GP(0x0)
#   15 bytes that are undefined: #UD
#   14 prefixes at the end of a page: #PF(0x10)
#       CR2 is the next page: yes
#   LOCK INC of memory: done
#   LOCK INC of a register: #UD
#   LOCK MOV: #UD
#   LOCK CMP: #UD
#   LOCK ADD from memory: #UD
#   LOCK NOP: #UD
#   LOCK XCHG: done
#   LOCK BTS: done
#   LOCK BT: #UD
#   LOCK CMPXCHG16B: #GP(0x0)
#   LOCK SHL: #UD
#   LOCK LEA: #UD
#   PUSH ES in 64-bit mode: #UD
#   VEX without OSXSAVE: #UD
#   UD0: #UD
#   UD1: #UD
#   82 in 64-bit mode: #UD
#   [exit 0]

.include "runtime.inc"

main:
    try
    .fill 14, 1, 0x66
    nop
    tried "15 bytes"
    try
    .fill 15, 1, 0x66
    nop
    tried "16 bytes"
    try
    .fill 6, 1, 0x2e
    .byte 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8
    tried "6 prefixes and an instruction of 10 bytes"
    try
    .fill 13, 1, 0x66
    ud2
    tried "15 bytes that are undefined"
    map_page PLAY, page_a, P | W
    lea rdi, [rip + page_a + 0x1000 - 14]
    mov ecx, 14
    mov al, 0x66
    rep stosb
    # Fourteen: the next byte is needed.
    mov eax, PLAY + 0x1000 - 14
    call jump
    print "14 prefixes at the end of a page: "
    call print_fault
    lea rbx, [rip + word]
    try
    lock inc dword ptr [rbx]
    tried "LOCK INC of memory"
    try
    .byte 0xf0
    inc eax
    tried "LOCK INC of a register"
    try
    .byte 0xf0
    mov [rbx], eax
    tried "LOCK MOV"
    try
    .byte 0xf0
    cmp [rbx], eax
    tried "LOCK CMP"
    try
    .byte 0xf0
    add eax, [rbx]
    tried "LOCK ADD from memory"
    try
    .byte 0xf0
    nop
    tried "LOCK NOP"
    try
    lock xchg [rbx], eax
    tried "LOCK XCHG"
    try
    lock bts dword ptr [rbx], 3
    tried "LOCK BTS"
    try
    .byte 0xf0
    bt dword ptr [rbx], 3
    tried "LOCK BT"
    try
    lock cmpxchg16b [rbx]
    tried "LOCK CMPXCHG16B"
    try
    .byte 0xf0
    shl dword ptr [rbx], 1
    tried "LOCK SHL"
    try
    .byte 0xf0
    lea rax, [rbx]
    tried "LOCK LEA"
    # Reserved opcodes.
    try
    .byte 0x06
    tried "PUSH ES in 64-bit mode"
    try
    .byte 0xc4, 0xc0
    tried "VEX without OSXSAVE"
    try
    .byte 0x0f, 0xff, 0xc0
    tried "UD0"
    try
    .byte 0x0f, 0xb9, 0xc0
    tried "UD1"
    try
    .byte 0x82, 0xc0, 0
    tried "82 in 64-bit mode"
    ret

jump:
    mov rbp, rsp
    lea rcx, [rip + 1f]
    mov [rip + resume_at], rcx
    mov dword ptr [rip + fault_vector], -1
    jmp rax
1:  mov rsp, rbp
    ret
print_fault:
    mov edi, [rip + fault_vector]
    mov esi, [rip + fault_error]
    call print_exception
    println
    cmp dword ptr [rip + fault_vector], 14
    jne 1f
    mov eax, PLAY + 0x1000
    check "    CR2 is the next page", [rip + fault_cr2], rax
1:  ret

.data
.balign 16
word: .quad 0, 0
