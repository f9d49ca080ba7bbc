# Code that writes code sees the new instructions: in the same line, in the next instruction, through
# another mapping, by a string instruction, from another processor, and after another page has come to
# its address.
# Intel SDM Vol. 3, "Handling Self- and Cross-Modifying Code".
#
# engines: interpreter, timing, qemu
# cpus: 2
# expect:
#   as written: 0x1
#   changed: 0x2
#   the next instruction: 0x1
#   a loop of 5 turns: 0xf
#   through another mapping: 0x3
#   executed there: 0x3
#   by STOSB: 0x4040404
#   by LOCK ADD: 0x4040405
#   another page at the address: 0x6
#   and the old one again: 0x4040405
#   from another processor: 0x7
#   executed by another processor: 0x8
#   at CPL 3: 0x9
#   [exit 0]

.include "runtime.inc"

main:
    # The page starts as: MOV EAX, 1; RET.
    lea rbx, [rip + page_a]
    mov byte ptr [rbx], 0xb8
    mov dword ptr [rbx + 1], 1
    mov byte ptr [rbx + 5], 0xc3
    call rbx
    show "as written", rax
    mov dword ptr [rbx + 1], 2
    call rbx
    show "changed", rax
    # The very next instruction: MOV BYTE [RBX + 8 + offset], imm; NOPs that become INC EAX.
    lea rdi, [rip + page_a + 0x100]
    lea rsi, [rip + next]
    mov ecx, offset next_end - next
    rep movsb
    lea rcx, [rip + page_a + 0x100]
    call rcx
    show "the next instruction", rax
    # A loop that changes its own immediate.
    lea rdi, [rip + page_a + 0x200]
    lea rsi, [rip + turning]
    mov ecx, offset turning_end - turning
    rep movsb
    lea rcx, [rip + page_a + 0x200]
    call rcx
    show "a loop of 5 turns", rax
    # Through another address.
    map_page PLAY, page_a, P | W
    mov ecx, PLAY
    mov dword ptr [rcx + 1], 3
    call rbx
    show "through another mapping", rax
    call rcx
    show "executed there", rax
    # By a string instruction, and byte by byte across words.
    lea rdi, [rip + page_a + 1]
    mov al, 0x04
    mov ecx, 4
    rep stosb
    call rbx
    show "by STOSB", rax
    lock add dword ptr [rbx + 1], 1
    call rbx
    show "by LOCK ADD", rax
    # Other code at the same address.
    lea rax, [rip + page_b]
    mov byte ptr [rax], 0xb8
    mov dword ptr [rax + 1], 6
    mov byte ptr [rax + 5], 0xc3
    map_page PLAY, page_b, P | W
    mov ecx, PLAY
    call rcx
    show "another page at the address", rax
    map_page PLAY, page_a, P | W
    mov ecx, PLAY
    call rcx
    show "and the old one again", rax
    # From another processor; CPUID serialises.
    use_xapic
    start_cpu 1
    on_cpu 1, modify
    wait_cpu 1
    xor eax, eax
    push rbx
    cpuid
    pop rbx
    call rbx
    show "from another processor", rax
    # This one changes, the other executes.
    mov dword ptr [rbx + 1], 8
    on_cpu 1, execute
    wait_cpu 1
    show "executed by another processor", [rip + executed]
    # At CPL 3, both in turn.
    run_user user
    ret

modify:
    mov dword ptr [rip + page_a + 1], 7
    ret
execute:
    xor eax, eax
    cpuid
    lea rax, [rip + page_a]
    call rax
    mov [rip + executed], rax
    ret

# RCX is where it runs.
next:
    xor eax, eax
    mov word ptr [rcx + (1f - next)], 0xc0ff
1:  nop
    nop
    ret
next_end:

turning:
    mov edx, 5
    xor eax, eax
1:  add eax, 0x01
    inc byte ptr [rcx + (1b - turning) + 2]
    dec edx
    jnz 1b
    ret
turning_end:

user:
    lea rbx, [rip + page_a]
    mov dword ptr [rbx + 1], 9
    call rbx
    show "at CPL 3", rax
    leave_user

.data
.balign 8
executed: .quad 0
