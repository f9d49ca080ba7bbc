# Virtual-8086 mode: entered by IRETD with VM = 1, left by every exception, with the segment registers on
# the stack and null afterwards; CLI, INT n and their kin are #GP(0) with IOPL < 3.
# Intel SDM Vol. 3, "8086 Emulation".
#
# engines: interpreter, timing, qemu
# expect:
#   vector 13, IP 0x3, CS 0x700, FLAGS 0x20202, SS 0x600, DS on the stack 0x1234, DS 0x0
#   vector 13, IP 0x4, CS 0x700, FLAGS 0x20202, SS 0x600, DS on the stack 0x1234, DS 0x0
#   vector 13, IP 0x5, CS 0x700, FLAGS 0x20202, SS 0x600, DS on the stack 0x1234, DS 0x0
#   vector 13, IP 0x7, CS 0x700, FLAGS 0x20202, SS 0x600, DS on the stack 0x1234, DS 0x0
#   vector 13, IP 0x8, CS 0x700, FLAGS 0x20202, SS 0x600, DS on the stack 0x1234, DS 0x0
#   vector 3, IP 0xa, CS 0x700, FLAGS 0x20202, SS 0x600, DS on the stack 0x1234, DS 0x0
#   vector 6, IP 0xb, CS 0x700, FLAGS 0x20202, SS 0x600, DS on the stack 0x1234, DS 0x0
#   vector 13, IP 0x10, CS 0x700, FLAGS 0x23002, SS 0x600, DS on the stack 0x1234, DS 0x0
#   vector 13, IP 0x13, CS 0x700, FLAGS 0x23002, SS 0x600, DS on the stack 0x1234, DS 0x0
#   vector 3, IP 0x15, CS 0x700, FLAGS 0x23002, SS 0x600, DS on the stack 0x1234, DS 0x0
#   AX + 16 * DS, read through DS: 0xcafe
#   [exit 0]

.include "runtime.inc"
.set TSS32, FREE_SELECTOR
# Where the 16-bit code is copied to.
.set CODE, 0x7000

main:
    lea rdx, [rip + tss32]
    mov word ptr [rip + gdt + TSS32], 0x2100
    mov [rip + gdt + TSS32 + 2], dx
    shr rdx, 16
    mov byte ptr [rip + gdt + TSS32 + 4], dl
    mov word ptr [rip + gdt + TSS32 + 5], 0x0089
    mov byte ptr [rip + gdt + TSS32 + 7], dh
    lea rsi, [rip + code16]
    mov edi, CODE
    mov ecx, offset code16_end - code16
    rep movsb
    # The #GP, #UD and #BP handlers are this test's own.
    call build_idt32
    lea rax, [rip + trapped13]
    mov ecx, 13
    call set_gate
    lea rax, [rip + trapped3]
    mov ecx, 3
    call set_gate
    lea rax, [rip + trapped6]
    mov ecx, 6
    call set_gate
    or byte ptr [rip + idt32 + 8 * 3 + 5], 0x60
    # Not `in_protected_mode`: that would build the IDT anew.
    mov edi, offset code
    call call_protected
    # Ten words for each trap.
    lea rbx, [rip + log]
1:  cmp rbx, [rip + log_end]
    je 2f
    print "vector "
    print_dec [rbx]
    print ", IP "
    print_hex [rbx + 8]
    print ", CS "
    print_hex [rbx + 16]
    print ", FLAGS "
    print_hex [rbx + 24]
    print ", SS "
    print_hex [rbx + 32]
    print ", DS on the stack "
    print_hex [rbx + 40]
    print ", DS "
    print_hex [rbx + 48]
    println
    add rbx, 56
    jmp 1b
2:  show "AX + 16 * DS, read through DS", [rip + read_by_v86]
    ret

set_gate:
    lea rdi, [rip + idt32]
    mov [rdi + 8 * rcx], ax
    mov word ptr [rdi + 8 * rcx + 2], KERNEL_CS32
    mov word ptr [rdi + 8 * rcx + 4], 0x8e00
    shr eax, 16
    mov [rdi + 8 * rcx + 6], ax
    ret

.code32
code:
    mov dword ptr [tss32 + 4], offset ring0_stack
    mov dword ptr [tss32 + 8], KERNEL_DS
    mov word ptr [tss32 + 102], 104
    mov eax, TSS32
    ltr ax
    mov [old_esp], esp
    mov dword ptr [0x12340], 0xcafe
    # GS, FS, DS, ES, SS, ESP, EFLAGS, CS, EIP.
    push 0
    push 0
    push 0x1234
    push 0
    push 0x600
    push 0x1000
    push 0x20202
    push CODE >> 4
    push 0
    iretd

trapped13:
    push 13
    jmp trapped
trapped3:
    push 0
    push 3
    jmp trapped
trapped6:
    push 0
    push 6
# [esp]: vector, error, EIP, CS, EFLAGS, ESP, SS, ES, DS, FS, GS.
trapped:
    push eax
    push ebx
    push ecx
    mov ecx, ds
    mov eax, KERNEL_DS
    mov ds, eax
    mov ebx, [log_end]
    mov eax, [esp + 12]
    mov [ebx], eax
    mov eax, [esp + 20]
    mov [ebx + 8], eax
    mov eax, [esp + 24]
    mov [ebx + 16], eax
    # But for RF, which QEMU 7.2 doesn't set.
    mov eax, [esp + 28]
    btr eax, 16
    mov [ebx + 24], eax
    mov eax, [esp + 36]
    mov [ebx + 32], eax
    mov eax, [esp + 44]
    mov [ebx + 40], eax
    mov [ebx + 48], ecx
    add dword ptr [log_end], 56
    # How long the instruction is stands in the table at its place.
    mov eax, [esp + 20]
    movzx eax, byte ptr [lengths + eax]
    cmp eax, 0xff
    je 1f
    add [esp + 20], eax
    # The second half runs with IOPL = 3.
    cmp dword ptr [esp + 12], 6
    jne 2f
    or dword ptr [esp + 28], 0x3000
2:  pop ecx
    pop ebx
    pop eax
    add esp, 8
    iretd
1:  pop ecx
    pop ebx
    pop eax
    mov esp, [old_esp]
    movzx eax, ax
    mov [read_by_v86], eax
    ret

.code16
code16:
    mov ax, [0]
a0: cli
a1: pushf
a2: int 0x21
a3: popf
a4: iret
a5: int3
    nop
a6: ud2
    # IOPL = 3 from here on.
    cli
    pushf
    popf
a7: mov ebx, cr0
a8: hlt
a9: int3
code16_end:
.code64

.data
# By offset: how far to go on from there after a trap; 0xff is the end.
lengths:
    .byte 0xff, 0xff, 0xff
    .byte 1 # a0: CLI
    .byte 1 # a1: PUSHF
    .byte 2, 0xff # a2: INT 0x21
    .byte 1 # a3: POPF
    .byte 1 # a4: IRET
    .byte 0xff # a5: INT3 is reported after it
    .byte 0
    .byte 2, 0xff # a6: UD2
    .byte 0xff, 0xff, 0xff
    .byte 3, 0xff, 0xff # a7: MOV from CR0
    .byte 1 # a8: HLT
    .fill 8, 1, 0xff
.balign 8
log_end: .quad log
old_esp: .quad 0
read_by_v86: .quad 0
.bss
.balign 16
log: .skip 56 * 16
tss32: .skip 0x2200
    .skip 1024
ring0_stack:
