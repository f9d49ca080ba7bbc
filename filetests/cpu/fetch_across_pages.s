# An instruction that reaches into the next page: fetched from both, and a fault of the second has CR2 in
# the second and RIP at the instruction. The next page may be anywhere in memory, and its change counts.
# Intel SDM Vol. 3, "Page-Fault Exceptions".
#
# engines: interpreter, timing, qemu
# expect:
#   first: 0x44332211
#   another second page: 0x66552211
#   changed in the second page: 0x88772211
#   changed in the first page: 0x8877ff11
#   second page at address 0: 0xaa99ff11
#   #PF(0x10)
#     CR2: yes
#     RIP: yes
#   #PF(0x11)
#     CR2: yes
#     RIP: yes
#   brought by the handler: 0x4433ff11
#   RET in its place leaves EAX: 0x7
#   vector: 0xffffffffffffffff
#   [exit 0]

.include "runtime.inc"
.set START, PLAY + 0xffd

main:
    # MOV EAX, imm32 with three bytes before the border; RET.
    mov byte ptr [rip + page_a + 0xffd], 0xb8
    mov word ptr [rip + page_a + 0xffe], 0x2211
    mov word ptr [rip + page_b], 0x4433
    mov byte ptr [rip + page_b + 2], 0xc3
    mov word ptr [rip + page_c], 0x6655
    mov byte ptr [rip + page_c + 2], 0xc3
    map_page PLAY, page_a, P | W
    map_page PLAY + 0x1000, page_b, P | W
    mov ebx, START
    call rbx
    show "first", rax
    # Another page behind the border.
    map_page PLAY + 0x1000, page_c, P | W
    call rbx
    show "another second page", rax
    # A change in the second page, and one in the first.
    mov word ptr [rip + page_c], 0x8877
    call rbx
    show "changed in the second page", rax
    mov byte ptr [rip + page_a + 0xfff], 0xff
    call rbx
    show "changed in the first page", rax
    # The second page at the very beginning of memory.
    xor ecx, ecx
    mov word ptr [rcx], 0xaa99
    mov byte ptr [rcx + 2], 0xc3
    map_page PLAY + 0x1000, 0, P | W
    call rbx
    show "second page at address 0", rax
    # The second page goes.
    map_page PLAY + 0x1000, page_c, 0
    mov rbp, rsp
    try
    call rbx
    tried_silently
    mov rsp, rbp
    call particulars
    map_page PLAY + 0x1000, page_c, P | W | NX
    mov rbp, rsp
    try
    call rbx
    tried_silently
    mov rsp, rbp
    call particulars
    # The handler may bring it, and the instruction goes on.
    map_page PLAY + 0x1000, page_c, 0
    on_interrupt 14, bring
    call rbx
    show "brought by the handler", rax
    # What no longer reaches there does not need the second page.
    on_interrupt 14, 0
    map_page PLAY + 0x1000, page_c, 0
    mov byte ptr [rip + page_a + 0xffd], 0xc3
    mov eax, 7
    mov rbp, rsp
    try
    call rbx
    tried_silently
    mov rsp, rbp
    show "RET in its place leaves EAX", rax
    show "vector", [rip + fault_vector]
    ret

particulars:
    mov edi, [rip + fault_vector]
    mov esi, [rip + fault_error]
    call print_exception
    println
    mov eax, PLAY + 0x1000
    check "  CR2", [rip + fault_cr2], rax
    mov eax, START
    check "  RIP", [rip + fault_rip], rax
    ret

bring:
    map_page PLAY + 0x1000, page_b, P | W
    ret
