# Which accesses the bits of a page-table entry allow, and the error code when they don't: bit 0 the page
# was present, 1 it was a write, 2 at CPL 3, 4 a fetch.
# Intel SDM Vol. 3, "Access Rights", "Page-Fault Exceptions".
#
# engines: interpreter, timing, qemu
# expect:
#   CR0.WP = 1: read, write, fetch, then the same at CPL 3
#   not present: #PF(0x0) #PF(0x2) #PF(0x10), #PF(0x4) #PF(0x6) #PF(0x14)
#   P: - #PF(0x3) -, #PF(0x5) #PF(0x7) #PF(0x15)
#   P W: - - -, #PF(0x5) #PF(0x7) #PF(0x15)
#   P U: - #PF(0x3) -, - #PF(0x7) -
#   P W U: - - -, - - -
#   P W U NX: - - #PF(0x11), - - #PF(0x15)
#   P W NX: - - #PF(0x11), #PF(0x5) #PF(0x7) #PF(0x15)
#   W U NX without P: #PF(0x0) #PF(0x2) #PF(0x10), #PF(0x4) #PF(0x6) #PF(0x14)
#   CR0.WP = 0
#   not present: #PF(0x0) #PF(0x2) #PF(0x10), #PF(0x4) #PF(0x6) #PF(0x14)
#   P: - - -, #PF(0x5) #PF(0x7) #PF(0x15)
#   P W: - - -, #PF(0x5) #PF(0x7) #PF(0x15)
#   P U: - - -, - #PF(0x7) -
#   P W U: - - -, - - -
#   P W U NX: - - #PF(0x11), - - #PF(0x15)
#   P W NX: - - #PF(0x11), #PF(0x5) #PF(0x7) #PF(0x15)
#   W U NX without P: #PF(0x0) #PF(0x2) #PF(0x10), #PF(0x4) #PF(0x6) #PF(0x14)
#   page directory entry without U
#   P W U: - - -, #PF(0x5) #PF(0x7) #PF(0x15)
#   page directory entry without W
#   P W U: - #PF(0x3) -, - #PF(0x7) -
#   page directory pointer table entry with NX
#   P W U: - - #PF(0x11), - - #PF(0x15)
#   [exit 0]

.include "runtime.inc"

# One line per kind of page: read, write and fetch at CPL 0, then at CPL 3; `-` is allowed.
.macro row what, bits
    map_page PLAY, page_a, \bits
    print "\what:"
    call attempt_all
.endm

.macro table
    row "not present", 0
    row "P", P
    row "P W", P | W
    row "P U", P | U
    row "P W U", P | W | U
    row "P W U NX", P | W | U | NX
    row "P W NX", P | W | NX
    row "W U NX without P", W | U | NX
.endm

main:
    # The page contains RET and data.
    mov byte ptr [rip + page_a], 0xc3
    # A supervisor entry above makes all pages supervisor pages, and a read-only one read-only.
    println "CR0.WP = 1: read, write, fetch, then the same at CPL 3"
    table
    clear_cr0 CR0_WP
    println "CR0.WP = 0"
    table
    set_cr0 CR0_WP
    println "page directory entry without U"
    and byte ptr [rip + play_directory], ~U
    row "P W U", P | W | U
    println "page directory entry without W"
    or byte ptr [rip + play_directory], U
    and byte ptr [rip + play_directory], ~W
    row "P W U", P | W | U
    println "page directory pointer table entry with NX"
    or byte ptr [rip + play_directory], W
    bts qword ptr [rip + pdpt + 16], 63
    row "P W U", P | W | U
    ret

attempt_all:
    mov rax, cr3
    mov cr3, rax
    mov eax, PLAY
    call attempt
    print ","
    run_user user
    println
    ret

user:
    mov eax, PLAY
    call attempt
    leave_user

.macro outcome
    mov edi, [rip + fault_vector]
    mov esi, [rip + fault_error]
    call print_short
.endm

attempt:
    try
    mov cl, [rax + 1]
    tried_silently
    outcome
    try
    mov byte ptr [rax + 1], cl
    tried_silently
    outcome
    mov rbx, rsp
    try
    call rax
    tried_silently
    mov rsp, rbx
    outcome
    ret

print_short:
    print " "
    cmp edi, -1
    je 1f
    call print_exception
    ret
1:  print "-"
    ret
