# PCIDs keep the translations of address spaces apart; each type of INVPCID invalidates what it must; its
# faults.
# Intel SDM Vol. 3, "Process-Context Identifiers (PCIDs)"; Vol. 2, "INVPCID".
#
# QEMU 7.2's TCG has no PCIDs.
#
# engines: interpreter, timing
# expect:
#   PCIDE with CR3[11:0] not 0: #GP(0x0)
#   PCIDE: done
#   PCID 0: a
#   PCID 1: a
#   CR3[11:0]: 0x1
#   MOV CR3 without bit 63: b
#   INVPCID 0: one address: a
#   INVPCID 1: one PCID: b
#   INVPCID 3: all but global: a
#   INVPCID 2: all: b
#   INVPCID
#   type 4: #GP(0x0)
#   type 1, reserved bits: #GP(0x0)
#   type 0, not canonical: #GP(0x0)
#   type 3 doesn't look at it: done
#   at CPL 3: #GP(0x0)
#   CR0.PG = 0 with PCIDE: #GP(0x0)
#   PCIDE = 0: done
#   type 1, PCID 1 without PCIDE: #GP(0x0)
#   [exit 0]

.include "runtime.inc"
.set NO_FLUSH, 63

# Another page behind PLAY, after it may have been cached in the current PCID.
.macro use_page label
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
# CR3 with this PCID, keeping what it has.
.macro switch pcid
    lea rax, [rip + pml4 + \pcid]
    bts rax, NO_FLUSH
    mov cr3, rax
.endm
.macro switch_and_flush pcid
    lea rax, [rip + pml4 + \pcid]
    mov cr3, rax
.endm
.macro invalidate kind, pcid, address
    mov qword ptr [rip + descriptor], \pcid
    mov rax, \address
    mov [rip + descriptor + 8], rax
    mov eax, \kind
    invpcid rax, [rip + descriptor]
.endm

main:
    mov byte ptr [rip + page_a], 'a'
    mov byte ptr [rip + page_b], 'b'
    mov ebx, PLAY
    map_page PLAY, page_a, P | W
    # CR4.PCIDE needs CR3[11:0] = 0.
    lea rax, [rip + pml4 + 8]
    mov cr3, rax
    try
    set_cr4 CR4_PCIDE
    tried "PCIDE with CR3[11:0] not 0"
    lea rax, [rip + pml4]
    mov cr3, rax
    try
    set_cr4 CR4_PCIDE
    tried "PCIDE"
    show_page "PCID 0"

    # Each case: seen in PCID 1, changed in PCID 0, invalidated for PCID 1, seen in PCID 1.
    switch 1
    show_page "PCID 1"
    mov rax, cr3
    and eax, 0xfff
    show "CR3[11:0]", rax
    switch 0
    use_page page_b
    switch_and_flush 1
    show_page "MOV CR3 without bit 63"
    switch 0
    invlpg [rbx]
    use_page page_a
    invalidate 0, 1, PLAY
    switch 1
    show_page "INVPCID 0: one address"
    switch 0
    invlpg [rbx]
    use_page page_b
    invalidate 1, 1, 0
    switch 1
    show_page "INVPCID 1: one PCID"
    switch 0
    invlpg [rbx]
    use_page page_a
    invalidate 3, 0, 0
    switch 1
    show_page "INVPCID 3: all but global"
    switch 0
    invlpg [rbx]
    use_page page_b
    or byte ptr [rip + play_table + 1], 1
    invalidate 2, 0, 0
    switch 1
    show_page "INVPCID 2: all"

    # Its faults.
    println "INVPCID"
    mov eax, 4
    try
    invpcid rax, [rip + descriptor]
    tried "type 4"
    mov qword ptr [rip + descriptor], 0x1000
    mov eax, 1
    try
    invpcid rax, [rip + descriptor]
    tried "type 1, reserved bits"
    mov qword ptr [rip + descriptor], 1
    movabs rax, 0x8000000000000000
    mov [rip + descriptor + 8], rax
    xor eax, eax
    try
    invpcid rax, [rip + descriptor]
    tried "type 0, not canonical"
    mov eax, 3
    try
    invpcid rax, [rip + descriptor]
    tried "type 3 doesn't look at it"
    run_user user
    # Clearing PG while PCIDE is set; turning PCIDE off.
    mov rax, cr0
    btr rax, 31
    try
    mov cr0, rax
    tried "CR0.PG = 0 with PCIDE"
    try
    clear_cr4 CR4_PCIDE
    tried "PCIDE = 0"
    mov qword ptr [rip + descriptor], 1
    mov qword ptr [rip + descriptor + 8], 0
    mov eax, 1
    try
    invpcid rax, [rip + descriptor]
    tried "type 1, PCID 1 without PCIDE"
    ret

user:
    xor eax, eax
    try
    invpcid rax, [rip + descriptor]
    tried "at CPL 3"
    leave_user

.data
.balign 16
descriptor: .quad 0, 0
