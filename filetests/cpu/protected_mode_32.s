# 32-bit protected mode without paging: exceptions through a 32-bit IDT, segment limits, INTO and BOUND, a
# 32-bit TSS with an interrupt from CPL 3 to CPL 0 and back.
# Intel SDM Vol. 3, "Protected-Mode Memory Management", "Interrupt Procedures"; Vol. 2, the mnemonics.
#
# QEMU 7.2 differs: it checks no limits of data accesses, and the test goes astray there.
#
# engines: interpreter, timing
# expect:
#   DIV by 0: #DE
#   INTO with OF: #OF
#   BOUND outside: #BR
#   BOUND inside: done
#   a byte at the limit: done
#   a byte beyond it: #GP(0x0)
#   a doubleword across it: #GP(0x0)
#   SYSCALL: #UD
#   MOV CR0 with PG and without PE: #GP(0x0)
#   PUSHA and POPA kept the registers: 0x7604321
#   AAM of 123: 0xc03
#   DAA of 0x79 + 0x35: 0x14
#   CS in the handler: 0x30
#   SS in the handler: 0x10
#   CS in the frame: 0x1b
#   SS in the frame: 0x23
#   ESP in the frame: yes
#   ESP in the handler: yes
#   HLT at CPL 3: #GP(0x0)
#   a data segment of CPL 0 at CPL 3: #GP(0xd0)
#   [exit 0]

.include "runtime.inc"
.set SMALL, FREE_SELECTOR
.set TSS32, FREE_SELECTOR + 8

main:
    set_descriptor SMALL, 0x0040930050000fff
    # The 32-bit TSS: limit 103.
    lea rdx, [rip + tss32]
    mov word ptr [rip + gdt + TSS32], 103
    mov [rip + gdt + TSS32 + 2], dx
    shr rdx, 16
    mov byte ptr [rip + gdt + TSS32 + 4], dl
    mov word ptr [rip + gdt + TSS32 + 5], 0x0089
    mov byte ptr [rip + gdt + TSS32 + 7], dh
    # A gate that CPL 3 may use.
    lea rax, [rip + from_user]
    mov [rip + idt32 + 8 * 0x41], ax
    mov word ptr [rip + idt32 + 8 * 0x41 + 2], KERNEL_CS32
    mov word ptr [rip + idt32 + 8 * 0x41 + 4], 0xee00
    shr eax, 16
    mov [rip + idt32 + 8 * 0x41 + 6], ax
    in_protected_mode code
    show_outcome32 "DIV by 0", results
    show_outcome32 "INTO with OF", results + 8
    show_outcome32 "BOUND outside", results + 16
    show_outcome32 "BOUND inside", results + 24
    show_outcome32 "a byte at the limit", results + 32
    show_outcome32 "a byte beyond it", results + 40
    show_outcome32 "a doubleword across it", results + 48
    show_outcome32 "SYSCALL", results + 56
    show_outcome32 "MOV CR0 with PG and without PE", results + 64
    show "PUSHA and POPA kept the registers", [rip + popped]
    show "AAM of 123", [rip + decimal]
    show "DAA of 0x79 + 0x35", [rip + decimal + 8]
    show "CS in the handler", [rip + user_frame]
    show "SS in the handler", [rip + user_frame + 8]
    show "CS in the frame", [rip + user_frame + 16]
    show "SS in the frame", [rip + user_frame + 24]
    mov eax, [rip + user_frame + 32]
    check_address "ESP in the frame", rax, stack32
    mov eax, [rip + user_frame + 40]
    check_address "ESP in the handler", rax, ring0_stack - 20
    show_outcome32 "HLT at CPL 3", results + 72
    show_outcome32 "a data segment of CPL 0 at CPL 3", results + 80
    ret

.code32
code:
    xor ecx, ecx
    try32
    div ecx
    tried32 results
    mov eax, 0x7fffffff
    add eax, 1
    try32
    into
    tried32 results + 8
    mov eax, 11
    try32
    bound eax, [bounds]
    tried32 results + 16
    mov eax, 10
    try32
    bound eax, [bounds]
    tried32 results + 24
    mov eax, SMALL
    mov fs, eax
    try32
    mov al, fs:[0xfff]
    tried32 results + 32
    try32
    mov al, fs:[0x1000]
    tried32 results + 40
    try32
    mov fs:[0xffd], eax
    tried32 results + 48
    try32
    syscall
    tried32 results + 56
    mov eax, 0x80000030
    try32
    mov cr0, eax
    tried32 results + 64
    # All registers through the stack.
    mov eax, 1
    mov ecx, 2
    mov edx, 3
    mov ebx, 4
    mov esi, 6
    mov edi, 7
    push ebp
    pusha
    xor eax, eax
    xor ecx, ecx
    xor edx, edx
    xor ebx, ebx
    xor esi, esi
    xor edi, edi
    popa
    pop ebp
    shl ecx, 4
    shl edx, 8
    shl ebx, 12
    shl esi, 20
    shl edi, 24
    or eax, ecx
    or eax, edx
    or eax, ebx
    or eax, esi
    or eax, edi
    mov [popped], eax
    mov eax, 123
    aam
    mov [decimal], eax
    mov eax, 0x79
    add al, 0x35
    daa
    mov [decimal + 8], eax

    # To CPL 3 and back.
    mov dword ptr [tss32 + 4], offset ring0_stack
    mov dword ptr [tss32 + 8], KERNEL_DS
    mov word ptr [tss32 + 102], 104
    mov eax, TSS32
    ltr ax
    mov [old_esp], esp
    push USER_DS
    push offset stack32
    push 2
    push USER_CS32
    push offset user
    iretd
user:
    mov eax, USER_DS
    mov ds, eax
    try32
    hlt
    tried32 results + 72
    mov eax, SMALL | 3
    try32
    mov fs, eax
    tried32 results + 80
    int 0x41

from_user:
    mov eax, cs
    mov ecx, ss
    mov edx, KERNEL_DS
    mov ds, edx
    mov [user_frame], eax
    mov [user_frame + 8], ecx
    mov eax, [esp + 4]
    mov [user_frame + 16], eax
    mov eax, [esp + 16]
    mov [user_frame + 24], eax
    mov eax, [esp + 12]
    mov [user_frame + 32], eax
    mov [user_frame + 40], esp
    mov esp, [old_esp]
    ret
.code64

.data
.balign 8
bounds: .long 5, 10
results: .fill 16, 8, 0
popped: .quad 0
decimal: .quad 0, 0
user_frame: .fill 8, 8, 0
old_esp: .quad 0
.bss
.balign 16
tss32: .skip 112
    .skip 1024
ring0_stack:
    .skip 1024
stack32:
