# A read or fetch sets the accessed bit in every entry on the way, a write the dirty bit in the last one
# too; an access that faults sets none in the entry that refuses it, and D is never set by a read.
# Intel SDM Vol. 3, "Accessed and Dirty Flags".
#
# engines: interpreter, timing, qemu
# expect:
#   entries of the page, its table, its directory, its pointer table
#   nothing: - - - A
#   read: A A A A
#   write: AD A A A
#   fetch: A A A A
#   read, then write: AD A A A
#   locked addition of 0: AD A A A
#   failing CMPXCHG: AD A A A
#   write to a read-only page: #PF(0x3)
#   write that faults: -
#   read of a page that isn't present: #PF(0x0)
#   read that faults: -
#   user code ended with #PF(0x5)
#   read at CPL 3 of a supervisor page: -
#   A set by software: A - - A
#   D set by software, read: AD A A A
#   2 MiB page
#   read: A
#   write: AD
#   [exit 0]

.include "runtime.inc"

.macro show_bits what
    print "\what:"
    mov rax, [rip + play_table]
    call show_bits_of
    mov rax, [rip + play_directory]
    call show_bits_of
    mov rax, [rip + pdpt + 16]
    call show_bits_of
    mov rax, [rip + pml4]
    call show_bits_of
    println
.endm

.macro show_page what
    print "\what:"
    mov rax, [rip + play_table]
    call show_bits_of
    println
.endm

# Clears A and D everywhere on the way to PLAY, with new bits for the page itself.
.macro fresh bits
    map_page PLAY, page_a, \bits
    and byte ptr [rip + play_directory], ~(A | D)
    and byte ptr [rip + pdpt + 16], ~(A | D)
    # The PML4 entry is in use for everything; it is always accessed.
    mov rax, cr3
    mov cr3, rax
.endm

main:
    mov byte ptr [rip + page_a], 0xc3
    mov ebx, PLAY
    println "entries of the page, its table, its directory, its pointer table"
    fresh P | W | U
    show_bits "nothing"
    mov al, [rbx]
    show_bits "read"
    fresh P | W | U
    mov [rbx + 1], al
    show_bits "write"
    fresh P | W | U
    call rbx
    show_bits "fetch"
    fresh P | W | U
    mov al, [rbx]
    mov [rbx + 1], al
    show_bits "read, then write"
    fresh P | W | U
    lock add byte ptr [rbx + 1], 0
    show_bits "locked addition of 0"
    fresh P | W | U
    # Fails to compare, and writes all the same.
    mov eax, 1
    mov dword ptr [rip + page_a + 8], 2
    lock cmpxchg [rbx + 8], ecx
    show_bits "failing CMPXCHG"
    fresh P
    try
    mov [rbx], al
    tried "write to a read-only page"
    show_page "write that faults"
    fresh W
    try
    mov al, [rbx]
    tried "read of a page that isn't present"
    show_page "read that faults"
    fresh P | W
    run_user user
    show_page "read at CPL 3 of a supervisor page"
    # A bit set by software stays.
    fresh P | W | A
    show_bits "A set by software"
    fresh P | W | D
    mov al, [rbx]
    show_bits "D set by software, read"

    # 2 MiB page: D is in the directory.
    println "2 MiB page"
    mov rax, [rip + play_directory]
    mov r12, rax
    mov eax, P | W | PS
    mov [rip + play_directory], rax
    mov rax, cr3
    mov cr3, rax
    mov al, [rbx]
    mov rax, [rip + play_directory]
    print "read:"
    call show_bits_of
    println
    mov ebx, PLAY + 0x5000
    mov byte ptr [rbx + 0xf00], 0
    mov rax, [rip + play_directory]
    print "write:"
    call show_bits_of
    println
    ret

show_bits_of:
    print " "
    test al, A | D
    jnz 1f
    print "-"
    ret
1:  test al, A
    jz 2f
    print "A"
2:  test al, D
    jz 3f
    print "D"
3:  ret

user:
    mov eax, PLAY
    mov al, [rax]
    leave_user
