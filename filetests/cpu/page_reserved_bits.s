# A reserved bit in a paging-structure entry is a page fault with bits 0 and 3 in the error code:
# physical-address bits beyond MAXPHYADDR, bit 7 (PS) in a PML4 entry, low address bits of large pages, NX
# without EFER.NXE. In an entry that isn't present nothing is reserved.
# Intel SDM Vol. 3, "4-Level Paging and 5-Level Paging".
#
# QEMU 7.2 has 52 physical-address bits, so the first two cases differ there.
#
# engines: interpreter, timing
# expect:
#   MAXPHYADDR: 46
#   page, bit 46: #PF(0x9)
#   page, bit 51: #PF(0x9)
#   page, bit 52: done
#   page, bit 58: done
#   page, bit 11: done
#   directory, bit 51: #PF(0x9)
#   directory, bit 8: done
#   pointer table, bit 51: #PF(0x9)
#   pointer table, bit 7: #PF(0x9)
#   directory, bit 7: #PF(0x9)
#   PML4, bit 51: #PF(0x9)
#   PML4, bit 7: #PF(0x9)
#   PML4, bit 8: done
#   write: #PF(0xb)
#   write at CPL 3: #PF(0xf)
#   NX without EFER.NXE
#   page, bit 63: #PF(0x9)
#   [exit 0]

.include "runtime.inc"

# Sets this bit in an entry, reads a byte at PLAY and at CPL 3, and clears the bit again.
.macro with_bit what, entry, bit
    bts qword ptr [rip + \entry], \bit
    mov rax, cr3
    mov cr3, rax
    try
    mov al, [rbx]
    tried "\what, bit \bit"
    btr qword ptr [rip + \entry], \bit
.endm

main:
    mov eax, 0x80000008
    cpuid
    movzx eax, al
    print "MAXPHYADDR: "
    print_dec rax
    println
    map_page PLAY, page_a, P | W
    mov ebx, PLAY
    with_bit "page", play_table, 46
    with_bit "page", play_table, 51
    # Ignored bits.
    with_bit "page", play_table, 52
    with_bit "page", play_table, 58
    with_bit "page", play_table, 11
    with_bit "directory", play_directory, 51
    with_bit "directory", play_directory, 8
    with_bit "pointer table", pdpt + 16, 51
    # This would be a 1 GiB page; its address bits 29:13 are reserved.
    with_bit "pointer table", pdpt + 16, 7
    # A 2 MiB page at a table's address.
    with_bit "directory", play_directory, 7
    # The PML4 entry is everybody's: the fault can't be taken without it. A second one, for 512 GiB and
    # up, shares its tables.
    mov rax, [rip + pml4]
    mov [rip + pml4 + 8], rax
    mov rax, PLAY + (1 << 39)
    mov rbx, rax
    with_bit "PML4", pml4 + 8, 51
    with_bit "PML4", pml4 + 8, 7
    with_bit "PML4", pml4 + 8, 8
    mov ebx, PLAY
    # The write and user bits of the error code go along.
    bts qword ptr [rip + play_table], 51
    mov rax, cr3
    mov cr3, rax
    try
    mov [rbx], al
    tried "write"
    run_user user
    btr qword ptr [rip + play_table], 51

    println "NX without EFER.NXE"
    read_msr EFER
    and eax, ~(1 << 11)
    write_msr EFER, rax
    with_bit "page", play_table, 63
    ret

user:
    mov eax, PLAY
    try
    mov [rax], al
    tried "write at CPL 3"
    leave_user
