# Which of two reasons counts when an instruction has both: interrupts before breakpoints on the next
# instruction, these before its fetch, fetching before decoding, #UD before #NM, #NM before the operands,
# privilege before memory, alignment of the instruction's own before page faults.
# Intel SDM Vol. 3, "Priority Among Concurrent Events"; Vol. 2, the pages of the mnemonics.
#
# QEMU 7.2 agrees but for LOCK, which it ignores, and XSETBV at CPL 3 without OSXSAVE, #GP(0) there.
#
# engines: interpreter, timing
# expect:
#   interrupt and instruction breakpoint: events: interrupt 0x41, d
#   breakpoint and page fault of the fetch: events: d
#       #PF(0x10)
#   breakpoint and #UD: events: d
#       #UD
#   0F at the end of a page:     #PF(0x10)
#   LOCK and CR0.TS: #UD or #NM: #UD
#   CR0.TS and a page fault: #NM or #PF: #NM
#   CR0.TS and a page fault, x87: #NM
#   LOCK MOV to a page that isn't there: #UD or #PF: #UD
#   MOVAPS, not aligned and not present: #GP or #PF: #GP(0x0)
#   CMPXCHG16B, not aligned and not present: #GP(0x0)
#   FXSAVE, not aligned and not present: #GP(0x0)
#   DIV by what isn't there: #DE or #PF: #PF(0x0)
#   PUSH of what isn't canonical: #GP(0x0)
#   PUSH of memory, both not present: the source: yes
#   XSETBV of XCR5 without OSXSAVE: #UD
#   CPL 3
#   LGDT of what isn't there: #GP or #PF: #GP(0x0)
#   INVLPG: #GP(0x0)
#   WRMSR of no register: #GP(0x0)
#   XSETBV without OSXSAVE: #UD or #GP: #UD
#   INSB, port refused and page not present: #GP(0x0)
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    on_interrupt 1, debug
    # An interrupt and a breakpoint wait at the first user instruction.
    user_address rax, user
    mov dr0, rax
    mov eax, 1
    mov dr7, rax
    send_self_ipi 0x41
    run_user user
    print "interrupt and instruction breakpoint: "
    print_events
    # A breakpoint at an address that can't be fetched.
    mov eax, PLAY
    mov dr0, rax
    mov rbp, rsp
    mov eax, PLAY
    try
    jmp rax
    tried_silently
    mov rsp, rbp
    print "breakpoint and page fault of the fetch: "
    print_events
    call outcome
    # At an instruction that is undefined.
    lea rax, [rip + 1f]
    mov dr0, rax
    try
1:  ud2
    tried_silently
    print "breakpoint and #UD: "
    print_events
    call outcome
    xor eax, eax
    mov dr7, rax

    # Fetching and decoding: the page ends after the first byte of what can't become an instruction.
    mov byte ptr [rip + page_a + 0xfff], 0x0f
    map_page PLAY, page_a, P | W
    mov eax, PLAY + 0xfff
    try
    jmp rax
    tried_silently
    print "0F at the end of a page: "
    call outcome

    set_cr0 8
    mov ebx, PLAY + 0x1000
    try
    .byte 0xf0
    pxor xmm0, [rbx]
    tried "LOCK and CR0.TS: #UD or #NM"
    try
    pxor xmm0, [rbx]
    tried "CR0.TS and a page fault: #NM or #PF"
    try
    fld qword ptr [rbx]
    tried "CR0.TS and a page fault, x87"
    clts
    try
    .byte 0xf0
    mov [rbx], eax
    tried "LOCK MOV to a page that isn't there: #UD or #PF"
    try
    movaps xmm0, [rbx + 8]
    tried "MOVAPS, not aligned and not present: #GP or #PF"
    try
    lock cmpxchg16b [rbx + 8]
    tried "CMPXCHG16B, not aligned and not present"
    try
    fxsave [rbx + 8]
    tried "FXSAVE, not aligned and not present"
    xor eax, eax
    xor edx, edx
    try
    div dword ptr [rbx]
    tried "DIV by what isn't there: #DE or #PF"
    movabs rax, 0x8000000000000000
    try
    push [rax]
    tried "PUSH of what isn't canonical"
    # Both the source and the destination fault: the load comes first.
    mov r12, rsp
    mov esp, PLAY + 0x3000
    lea rax, [rip + 2f]
    mov [rip + resume_at], rax
    mov dword ptr [rip + fault_vector], -1
    use_ist 14, 2
    push [rbx]
2:  mov rsp, r12
    use_ist 14, 0
    check "PUSH of memory, both not present: the source", [rip + fault_cr2], rbx
    # XSETBV: #UD before #GP.
    mov ecx, 5
    try
    xsetbv
    tried "XSETBV of XCR5 without OSXSAVE"
    println "CPL 3"
    run_user user_cases
    ret

debug:
    log_mark 'd'
    or qword ptr [rdi + FRAME_RFLAGS], RFLAGS_RF
    ret

outcome:
    mov edi, [rip + fault_vector]
    mov esi, [rip + fault_error]
    print "    "
    call print_exception
    println
    ret

user:
    leave_user

user_cases:
    mov ebx, PLAY + 0x1000
    try
    lgdt [rbx]
    tried "LGDT of what isn't there: #GP or #PF"
    try
    invlpg [rbx]
    tried "INVLPG"
    mov ecx, 0x12345678
    try
    wrmsr
    tried "WRMSR of no register"
    try
    xsetbv
    tried "XSETBV without OSXSAVE: #UD or #GP"
    mov edx, 0xe4
    lea rdi, [rbx]
    try
    insb
    tried "INSB, port refused and page not present"
    leave_user
