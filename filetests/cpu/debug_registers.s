# Debug registers: reserved bits, DR4 and DR5 under CR4.DE, general detect (DR7.GD), privilege.
# Intel SDM Vol. 3, "Debug Registers".
#
# QEMU 7.2 differs: it keeps reserved bits of DR6 and DR7, and has no general detect.
#
# engines: interpreter, timing
# expect:
#   DR6 after reset: 0xffff0ff0
#   DR7 after reset: 0x400
#   DR6 = 0xffffffff: done
#   DR6: 0xffffefff
#   DR6 after 0: 0xffff0ff0
#   DR7: 0xffff0700
#   DR7 after 0: 0x400
#   DR6 bit 32: #GP(0x0)
#   DR7 bit 32: #GP(0x0)
#   DR0 not canonical (it may be): done
#   MOV RAX, DR4: done
#   it is DR6: 0xffff4ff1
#   MOV RAX, DR4 with DE = 1: #UD
#   MOV DR5, RAX with DE = 1: #UD
#   MOV RBX, DR0 with GD = 1: #DB
#   DR6: 0xffff2ff0
#   DR7: 0x400
#   MOV RAX, DR0 at CPL 3: #GP(0x0)
#   MOV DR7, RAX at CPL 3: #GP(0x0)
#   [exit 0]

.include "runtime.inc"

main:
    mov rax, dr6
    show "DR6 after reset", rax
    mov rax, dr7
    show "DR7 after reset", rax
    # What can be written.
    mov eax, -1
    try
    mov dr6, rax
    tried "DR6 = 0xffffffff"
    mov rax, dr6
    show "DR6", rax
    xor eax, eax
    mov dr6, rax
    mov rax, dr6
    show "DR6 after 0", rax
    mov eax, 0xffffdfff & ~0xff
    mov dr7, rax
    mov rax, dr7
    show "DR7", rax
    xor eax, eax
    mov dr7, rax
    mov rax, dr7
    show "DR7 after 0", rax
    mov rax, 1 << 32
    try
    mov dr6, rax
    tried "DR6 bit 32"
    try
    mov dr7, rax
    tried "DR7 bit 32"
    movabs rax, 0x0000800000000000
    try
    mov dr0, rax
    tried "DR0 not canonical (it may be)"
    # DR4 and DR5 are DR6 and DR7 unless CR4.DE is set.
    mov eax, 0x4001
    mov dr6, rax
    try
    .byte 0x0f, 0x21, 0xe0
    tried "MOV RAX, DR4"
    show "it is DR6", rax
    set_cr4 8
    try
    .byte 0x0f, 0x21, 0xe0
    tried "MOV RAX, DR4 with DE = 1"
    try
    .byte 0x0f, 0x23, 0xe8
    tried "MOV DR5, RAX with DE = 1"
    clear_cr4 8
    # General detect: the access faults, and the handler runs without it.
    xor eax, eax
    mov dr6, rax
    mov eax, 1 << 13
    mov dr7, rax
    try
    mov rbx, dr0
    tried "MOV RBX, DR0 with GD = 1"
    mov rax, dr6
    show "DR6", rax
    mov rax, dr7
    show "DR7", rax
    run_user user
    ret

user:
    try
    mov rax, dr0
    tried "MOV RAX, DR0 at CPL 3"
    try
    mov dr7, rax
    tried "MOV DR7, RAX at CPL 3"
    leave_user
