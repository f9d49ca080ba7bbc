# Real mode: segments times 16, 64 KiB limits, the interrupt vector table, 16-bit wrap-around of IP, SP and
# addresses, 32-bit operands, and a limit that survives from protected mode.
# Intel SDM Vol. 3, "Real-Address Mode".
#
# QEMU 7.2 differs: it checks no limits of data accesses.
#
# engines: interpreter, timing
# expect:
#   1000:2345: 0x11223344
#   1234:0005: 0x11223344
#   FFFF:FFE0, beyond 1 MiB: 0x55667788
#   vector of INT 0x21: 0x21
#   FLAGS pushed by INT, low bits: 0x201
#   IF in the handler: 0x0
#   DIV by 0: IP at the instruction: 0x0
#   a word at FFFF: 0xd
#   an address beyond FFFF: 0xd
#   PUSH with SP = 0: SP: 0xfffe
#   a 32-bit multiplication: 0xb2d05e00
#   CALL FAR, CS on the stack: 0x0
#   LOOP with CX = 3, turns: 0x3
#   REP STOSW stored: 0x108
#   SI + DI wraps around: 0x42
#   CR0.PE: 0x0
#   SMSW: 0x0
#   SLDT: 0x6
#   after a 4 GiB limit: at 0x12345: 0x11223344
#   [exit 0]

.include "runtime.inc"

# Where a label is once the code has been copied.
.set BASE, REAL_CODE
.macro result number, value
    mov [RESULTS + 4 * \number], \value
.endm
.macro show_result number, text
    mov eax, [RESULTS + 4 * \number]
    show "\text", rax
.endm

main:
    # What the accesses find: marks at physical addresses.
    mov dword ptr [0x12345], 0x11223344
    mov dword ptr [0x10ffd0], 0x55667788
    in_real_mode code, code_end
    show_result 0, "1000:2345"
    show_result 1, "1234:0005"
    show_result 2, "FFFF:FFE0, beyond 1 MiB"
    show_result 3, "vector of INT 0x21"
    show_result 4, "FLAGS pushed by INT, low bits"
    show_result 5, "IF in the handler"
    show_result 6, "DIV by 0: IP at the instruction"
    show_result 7, "a word at FFFF"
    show_result 8, "an address beyond FFFF"
    show_result 9, "PUSH with SP = 0: SP"
    show_result 10, "a 32-bit multiplication"
    show_result 11, "CALL FAR, CS on the stack"
    show_result 12, "LOOP with CX = 3, turns"
    show_result 13, "REP STOSW stored"
    show_result 14, "SI + DI wraps around"
    show_result 15, "CR0.PE"
    show_result 16, "SMSW"
    show_result 17, "SLDT"
    show_result 18, "after a 4 GiB limit: at 0x12345"
    ret

.code16
code:
    # Interrupt vectors.
    xor ax, ax
    mov ds, ax
    mov word ptr [4 * 0], BASE + (divide - code)
    mov word ptr [4 * 0 + 2], ax
    mov word ptr [4 * 6], BASE + (undefined - code)
    mov word ptr [4 * 6 + 2], ax
    mov word ptr [4 * 13], BASE + (general - code)
    mov word ptr [4 * 13 + 2], ax
    mov word ptr [4 * 0x21], BASE + (service - code)
    mov word ptr [4 * 0x21 + 2], ax

    mov ax, 0x1000
    mov es, ax
    mov eax, es:[0x2345]
    result 0, eax
    mov ax, 0x1234
    mov es, ax
    mov eax, es:[5]
    result 1, eax
    # FFFF0 + FFE0 is beyond 1 MiB, and with A20 open it is not wrapped.
    mov ax, 0xffff
    mov es, ax
    mov eax, es:[0xffe0]
    result 2, eax

    # INT and IRET.
    pushf
    pop ax
    sti
    stc
    int 0x21
    cli
    # A fault pushes no error code, and IP at the instruction.
    xor cx, cx
    xor dx, dx
    mov ax, 5
at_divide:
    div cx
    # A word at FFFF crosses the limit: #GP.
    xor ax, ax
    mov es, ax
    mov word ptr [RESULTS + 4 * 7], 0
    mov bx, 0xffff
    mov si, BASE + (1f - code)
    mov di, 7
    mov ax, es:[bx]
1:  # An address of 32 bits beyond the limit.
    mov dword ptr [RESULTS + 4 * 8], 0
    mov ebx, 0x12345
    mov si, BASE + (2f - code)
    mov di, 8
    mov eax, es:[ebx]
2:  # SP wraps around.
    mov bp, sp
    mov ax, ss
    mov cx, 0x9000
    mov ss, cx
    xor sp, sp
    push ax
    mov bx, sp
    mov ss, ax
    mov sp, bp
    movzx ebx, bx
    result 9, ebx
    mov eax, 100000
    mov ebx, 30000
    mul ebx
    result 10, eax
    # CALL FAR to 0700:0000 + the label.
    .byte 0x9a
    .word far_function - code
    .word BASE >> 4
    # LOOP counts CX, not ECX.
    mov ecx, 0x10003
    xor ax, ax
3:  inc ax
    loop 3b
    movzx eax, ax
    result 12, eax
    mov ax, 0x8000
    mov es, ax
    mov di, 0x100
    mov ax, 0x5a5a
    mov ecx, 0x30004
    cld
    rep stosw
    movzx eax, di
    result 13, eax
    # Effective addresses have 16 bits.
    xor ax, ax
    mov es, ax
    mov si, 0xfff0
    mov di, RESULTS + 0x10
    mov byte ptr [RESULTS + 4 * 19], 0x42
    mov bx, RESULTS + 4 * 19 + 0x10
    movzx eax, byte ptr [bx + si]
    result 14, eax
    mov eax, cr0
    and eax, 1
    result 15, eax
    smsw ax
    and eax, 1
    result 16, eax
    # SLDT is undefined here.
    mov dword ptr [RESULTS + 4 * 17], 0
    mov si, BASE + (4f - code)
    mov di, 17
    sldt ax
4:  # A segment register loaded in protected mode keeps its limit of 4 GiB.
    mov eax, cr0
    or al, 1
    mov cr0, eax
    mov bx, KERNEL_DS
    mov fs, bx
    and al, 0xfe
    mov cr0, eax
    mov dword ptr [RESULTS + 4 * 18], 0
    mov ebx, 0x12345
    mov si, BASE + (5f - code)
    mov di, 18
    mov eax, fs:[ebx]
    result 18, eax
5:  ret

service:
    mov bp, sp
    mov ax, [bp + 4]
    and eax, 0x201
    result 4, eax
    pushf
    pop ax
    and eax, 0x200
    result 5, eax
    mov eax, 0x21
    result 3, eax
    iret

divide:
    mov bp, sp
    movzx eax, word ptr [bp]
    sub ax, BASE + (at_divide - code)
    # 0 if it is the instruction's own.
    result 6, eax
    add word ptr [bp], 2
    iret

# #GP and #UD: note the vector where DI says and go on where SI says.
undefined:
    mov ax, 6
    jmp 1f
general:
    mov ax, 13
1:  mov bp, sp
    mov [bp], si
    shl di, 2
    movzx eax, ax
    mov [di + RESULTS], eax
    iret

far_function:
    mov bp, sp
    movzx eax, word ptr [bp + 2]
    result 11, eax
    retf
code_end:
.code64
