# The two older kinds of paging: 32-bit paging with 4 KiB and 4 MiB pages, and PAE paging with 4 KiB and
# 2 MiB pages, whose four pointers are loaded with CR3 and refused if they have reserved bits.
# Intel SDM Vol. 3, "32-Bit Paging", "PAE Paging".
#
# QEMU 7.2 does not check the pointers of PAE paging when CR3 is loaded.
#
# engines: interpreter, timing
# expect:
#   32-bit paging, 4 KiB: 0xaaaaaaaa
#   32-bit paging, 4 MiB: 0xbbbbbbbb
#   write to a read-only page: #PF(0x3)
#   not present: #PF(0x0)
#   CR2: 0x40002345
#   PTE after read and write: 0x67
#   PSE page with CR4.PSE = 0: done
#   it is a table: 0xbbbbbbbb
#   PAE paging, 4 KiB: 0xaaaaaaaa
#   PAE paging, 2 MiB: 0xbbbbbbbb
#   a pointer with a reserved bit: #GP(0x0)
#   unchanged pointers: 0xaaaaaaaa
#   NX: #PF(0x11)
#   [exit 0]

.include "runtime.inc"

main:
    mov dword ptr [rip + page_a], 0xaaaaaaaa
    mov dword ptr [rip + page_b], 0xbbbbbbbb
    in_protected_mode code
    show "32-bit paging, 4 KiB", [rip + seen]
    show "32-bit paging, 4 MiB", [rip + seen + 8]
    show_outcome32 "write to a read-only page", results
    show_outcome32 "not present", results + 8
    show "CR2", [rip + seen + 16]
    show "PTE after read and write", [rip + seen + 24]
    show_outcome32 "PSE page with CR4.PSE = 0", results + 16
    show "it is a table", [rip + seen + 56]
    show "PAE paging, 4 KiB", [rip + seen + 32]
    show "PAE paging, 2 MiB", [rip + seen + 40]
    show_outcome32 "a pointer with a reserved bit", results + 24
    show "unchanged pointers", [rip + seen + 48]
    show_outcome32 "NX", results + 32
    ret

.code32
# 32-bit tables: everything identity-mapped by 4 MiB pages but 0x40000000.
code:
    mov ebp, esp
    mov eax, 0x83
    xor ecx, ecx
1:  mov [directory + 4 * ecx], eax
    add eax, 1 << 22
    inc ecx
    cmp ecx, 1024
    jne 1b
    mov dword ptr [directory + 4 * 256], offset table + 7
    mov dword ptr [table], offset page_a + 7
    mov dword ptr [table + 4], offset page_b + 5
    # A 4 MiB page that shows memory from 0 on.
    mov dword ptr [directory + 4 * 257], 0x83
    # PSE, without PAE.
    mov eax, 0x610
    mov cr4, eax
    mov eax, offset directory
    mov cr3, eax
    mov eax, cr0
    or eax, 0x80010000
    mov cr0, eax
    mov eax, [0x40000000]
    mov [seen], eax
    mov eax, [0x40400000 + page_b]
    mov [seen + 8], eax
    try32
    mov [0x40001000], eax
    tried32 results
    try32
    mov eax, [0x40002345]
    tried32 results + 8
    mov eax, [fault_cr2]
    mov [seen + 16], eax
    mov [0x40000010], eax
    mov eax, [table]
    and eax, 0xfff
    mov [seen + 24], eax
    # Without PSE bit 7 of a directory entry is ignored: it points to a table then. At 0x50000000 that is
    # page_c, whose first entry leads to page_b. All the code runs on such a page, too.
    mov dword ptr [table + 4 * 4], 0
    xor ecx, ecx
    mov eax, 3
2:  mov [low_table + 4 * ecx], eax
    add eax, 4096
    inc ecx
    cmp ecx, 1024
    jne 2b
    mov eax, cr0
    and eax, 0x7fffffff
    mov cr0, eax
    mov dword ptr [directory], offset low_table + 0x83
    mov dword ptr [directory + 4 * 320], offset page_c + 0x87
    mov dword ptr [page_c], offset page_b + 7
    mov eax, 0x600
    mov cr4, eax
    mov eax, cr3
    mov cr3, eax
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax
    try32
    mov eax, [0x50000000]
    tried32 results + 16
    mov [seen + 56], eax
    mov eax, cr0
    and eax, 0x7fffffff
    mov cr0, eax

    # PAE tables: the first GiB by 2 MiB pages, the second with a table and another 2 MiB page.
    xor ecx, ecx
    mov eax, 0x83
3:  mov [pae_directory + 8 * ecx], eax
    mov dword ptr [pae_directory + 8 * ecx + 4], 0
    add eax, 1 << 21
    inc ecx
    cmp ecx, 512
    jne 3b
    mov dword ptr [pointers], offset pae_directory + 1
    mov dword ptr [pointers + 8], offset pae_second + 1
    mov dword ptr [pae_second], offset pae_table + 7
    mov dword ptr [pae_second + 8], 0x87
    mov dword ptr [pae_table], offset page_a + 7
    mov eax, 0x620
    mov cr4, eax
    mov eax, offset pointers
    mov cr3, eax
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax
    mov eax, [0x40000000]
    mov [seen + 32], eax
    mov eax, [0x40200000 + page_b]
    mov [seen + 40], eax
    # Bit 1 of a pointer is reserved.
    or byte ptr [pointers + 8], 2
    mov eax, offset pointers
    try32
    mov cr3, eax
    tried32 results + 24
    mov eax, [0x40000000]
    mov [seen + 48], eax
    and byte ptr [pointers + 8], ~2
    # NX: EFER.NXE is still set.
    mov byte ptr [page_a + 8], 0xc3
    mov dword ptr [pae_table + 4], 0x80000000
    mov eax, cr3
    mov cr3, eax
    mov ebx, 0x40000008
    mov ebp, esp
    try32
    call ebx
    tried32 results + 32
    mov esp, ebp
    mov eax, cr0
    and eax, 0x7ffeffff
    mov cr0, eax
    ret
.code64

.data
.balign 8
seen: .fill 8, 8, 0
results: .fill 8, 8, 0
.bss
.balign 4096
directory: .skip 4096
table: .skip 4096
low_table: .skip 4096
pae_directory: .skip 4096
pae_second: .skip 4096
pae_table: .skip 4096
pointers: .skip 4096
