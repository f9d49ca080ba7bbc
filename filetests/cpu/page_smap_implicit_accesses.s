# SMAP refuses implicit supervisor accesses to user pages, such as reading a descriptor, whatever RFLAGS.AC
# is; also those made while CPL is 3.
# Intel SDM Vol. 3, "Access Rights".
#
# QEMU 7.2 lets RFLAGS.AC lift SMAP for the implicit accesses, too.
#
# engines: interpreter, timing
# expect:
#   SMAP = 0: done
#   SMAP = 1, AC = 1: #PF(0x1)
#   CR2: yes
#   SMAP = 1, AC = 0: #PF(0x1)
#   at CPL 3: #PF(0x1)
#   at CPL 3: #PF(0x1)
#   [exit 0]

.include "runtime.inc"

main:
    # An LDT on a user page, with one data segment.
    movabs rax, 0x00cff3000000ffff
    mov [rip + page_a], rax
    map_page PLAY, page_a, P | W | U
    mov word ptr [rip + gdt + FREE_SELECTOR], 7
    mov dword ptr [rip + gdt + FREE_SELECTOR + 2], PLAY & 0xffffff | 0x82 << 24
    mov byte ptr [rip + gdt + FREE_SELECTOR + 7], PLAY >> 24
    mov qword ptr [rip + gdt + FREE_SELECTOR + 8], 0
    mov eax, FREE_SELECTOR
    lldt ax
    mov eax, 4
    try
    mov es, eax
    tried "SMAP = 0"
    set_cr4 CR4_SMAP
    stac
    mov eax, 4
    try
    mov es, eax
    tried "SMAP = 1, AC = 1"
    mov eax, PLAY
    check "CR2", [rip + fault_cr2], rax
    clac
    mov eax, 4
    try
    mov es, eax
    tried "SMAP = 1, AC = 0"
    run_user user, 0x202 | RFLAGS_AC
    run_user user
    ret

user:
    mov eax, 7
    try
    mov es, eax
    tried "at CPL 3"
    leave_user
