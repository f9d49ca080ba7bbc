# What must hold after each way to invalidate translations. (What a TLB still holds before is its own
# affair.) A translation that wasn't present, and one with more rights than before, need no invalidation
# for correctness: the former is never cached, the latter at worst faults once more.
# Intel SDM Vol. 3, "Caching Translation Information".
#
# engines: interpreter, timing, qemu
# expect:
#   at first: a
#   INVLPG: b
#   INVLPG elsewhere in the page: a
#   MOV CR3: b
#   INVLPG of a global page: a
#   changing CR4.PGE: b
#   with CR0.WP = 0, MOV CR3: a
#   directory entry cleared: #PF(0x0)
#   and back, without invalidation: b
#   not present: #PF(0x0)
#   present: done
#   writable: done
#   INVLPG at CPL 3: #GP(0x0)
#   INVLPG of no address: done
#   [exit 0]

.include "runtime.inc"

# PLAY leads to page_a or page_b now; reads through it first, so that it may be cached.
.macro use_page label
    mov rax, offset \label
    or eax, P | W | G
    mov cl, [rbx]
    mov [rip + play_table], rax
.endm
.macro use_local_page label
    mov rax, offset \label
    or eax, P | W
    mov cl, [rbx]
    mov [rip + play_table], rax
.endm
.macro show_page what
    movzx eax, byte ptr [rbx]
    print "\what: "
    call print_character
    println
.endm

main:
    mov byte ptr [rip + page_a], 'a'
    mov byte ptr [rip + page_b], 'b'
    mov ebx, PLAY
    map_page PLAY, page_a, P | W
    show_page "at first"
    use_local_page page_b
    invlpg [rbx]
    show_page "INVLPG"
    use_local_page page_a
    # Any address in the page.
    invlpg [rbx + 0xabc]
    show_page "INVLPG elsewhere in the page"
    use_local_page page_b
    mov rax, cr3
    mov cr3, rax
    show_page "MOV CR3"
    # A task switch in software invalidates nothing global; INVLPG does.
    set_cr4 0x80
    use_page page_a
    invlpg [rbx]
    show_page "INVLPG of a global page"
    use_page page_b
    mov rax, cr4
    btr eax, 7
    mov cr4, rax
    show_page "changing CR4.PGE"
    use_local_page page_a
    mov rax, cr0
    btr eax, 16
    mov cr0, rax
    mov rax, cr3
    mov cr3, rax
    show_page "with CR0.WP = 0, MOV CR3"
    set_cr0 CR0_WP

    # A structure above the page.
    use_local_page page_b
    mov rax, [rip + play_directory]
    mov byte ptr [rip + play_directory], 0
    mov rcx, cr3
    mov cr3, rcx
    try
    mov cl, [rbx]
    tried "directory entry cleared"
    mov [rip + play_directory], rax
    show_page "and back, without invalidation"

    # From not present to present, and to more rights.
    mov qword ptr [rip + play_table + 8], 0
    try
    mov cl, [rbx + 0x1000]
    tried "not present"
    mov rax, offset page_a
    or eax, P
    mov [rip + play_table + 8], rax
    try
    mov cl, [rbx + 0x1000]
    tried "present"
    or byte ptr [rip + play_table + 8], W
    # May fault once, because the cached translation says so.
    try
    mov [rbx + 0x1010], cl
    tried_silently
    try
    mov [rbx + 0x1010], cl
    tried "writable"
    # INVLPG at CPL 3.
    run_user user
    # An address that isn't canonical has no page to invalidate.
    movabs rax, 0x8000000000000000
    try
    invlpg [rax]
    tried "INVLPG of no address"
    ret

user:
    try
    invlpg [rax]
    tried "INVLPG at CPL 3"
    leave_user
