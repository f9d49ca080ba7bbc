# Pages of 4 KiB, 2 MiB and 1 GiB lead where their entries say; CR2 and the error code of a fault on a
# large page, and an access that crosses from one page into another.
# Intel SDM Vol. 3, "4-Level Paging and 5-Level Paging".
#
# engines: interpreter, timing, qemu
# expect:
#   4 KiB, across: 0xddeeff0011223344
#   across, the second not present: #PF(0x0)
#   CR2 is the second page: yes
#   write across, the second not present: #PF(0x2)
#   nothing was written: 0x1122334455667788
#   2 MiB: 0x1122334455667788
#   2 MiB, read-only: #PF(0x3)
#   CR2: yes
#   1 GiB: 0x99aabbccddeeff00
#   not canonical: #GP(0x0)
#   the upper half: #PF(0x0)
#   CR2: yes
#   [exit 0]

.include "runtime.inc"

.macro flush
    mov rax, cr3
    mov cr3, rax
.endm

main:
    movabs rax, 0x1122334455667788
    mov [rip + page_a + 0xff8], rax
    movabs rax, 0x99aabbccddeeff00
    mov [rip + page_b], rax

    # 4 KiB: two pages in the other order, and an access across the border.
    map_page PLAY, page_a, P | W
    map_page PLAY + 0x1000, page_b, P | W
    mov ebx, PLAY + 0xffc
    show "4 KiB, across", [rbx]
    mov byte ptr [rip + play_table + 8], 0
    flush
    try
    mov rax, [rbx]
    tried "across, the second not present"
    mov ecx, PLAY + 0x1000
    check "CR2 is the second page", [rip + fault_cr2], rcx
    try
    mov [rbx], rax
    tried "write across, the second not present"
    show "nothing was written", [rip + page_a + 0xff8]

    # 2 MiB: PLAY shows the first 2 MiB of memory, the one with the image.
    mov r12, [rip + play_directory]
    mov qword ptr [rip + play_directory], P | W | PS
    flush
    mov eax, PLAY
    lea rbx, [rip + page_a + 0xff8]
    add rbx, rax
    show "2 MiB", [rbx]
    and byte ptr [rip + play_directory], ~W
    flush
    try
    mov [rbx], rax
    tried "2 MiB, read-only"
    check "CR2", [rip + fault_cr2], rbx
    mov [rip + play_directory], r12

    # 1 GiB: the same at the second GiB of another PML4 entry.
    mov qword ptr [rip + large_pdpt + 8], P | W | PS
    lea rax, [rip + large_pdpt]
    or rax, P | W
    mov [rip + pml4 + 8], rax
    movabs rax, (1 << 39) + (1 << 30)
    lea rbx, [rip + page_b]
    add rbx, rax
    show "1 GiB", [rbx]
    # Non-canonical addresses have no pages.
    movabs rbx, 0xffff7fffffffffff
    try
    mov al, [rbx]
    tried "not canonical"
    movabs rbx, 0xffff800000000000
    try
    mov al, [rbx]
    tried "the upper half"
    check "CR2", [rip + fault_cr2], rbx
    ret

.bss
.balign 4096
large_pdpt: .skip 4096
