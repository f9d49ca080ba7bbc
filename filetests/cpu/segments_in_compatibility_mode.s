# In compatibility mode segments have bases, limits and types: what lies outside is #GP(0), on the stack
# #SS(0); at the limit it is inside. In 64-bit mode the same selectors have neither (but FS and GS bases).
# Intel SDM Vol. 3, "Limit Checking", "Type Checking".
#
# QEMU 7.2's TCG checks no limits and no types of data accesses.
#
# engines: interpreter, timing
# expect:
#   limit 15, byte at 15: done
#   byte at 16: #GP(0x0)
#   word at 14: done
#   word at 15: #GP(0x0)
#   doubleword at 13: #GP(0x0)
#   write of a doubleword at 12: done
#   write of a byte at 0xffffffff: #GP(0x0)
#   read-only, read: done
#   read-only, write: #GP(0x0)
#   expand-down from 16, byte at 15: #GP(0x0)
#   byte at 16: done
#   byte at 0xffff: done
#   byte at 0x10000: #GP(0x0)
#   word at 0xffff: #GP(0x0)
#   loading execute-only code into FS: #GP(0xe8)
#   loading null into FS: done
#   read through null: #GP(0x0)
#   wrapping around at 4 GiB: done
#   the fifth PUSH into 16 bytes: #SS(0x0)
#   ESP then: 0x0
#   [exit 0]

.include "runtime.inc"
.set SMALL, FREE_SELECTOR | 3
.set READ_ONLY, (FREE_SELECTOR + 8) | 3
.set DOWN, (FREE_SELECTOR + 16) | 3
.set EXECUTE_ONLY, (FREE_SELECTOR + 24) | 3
.set CODE, (FREE_SELECTOR + 32) | 3
.set HIGH, (FREE_SELECTOR + 40) | 3

.macro access what, instruction:vararg
    try_user32 \what
    \instruction
    tried_user32
.endm

# A descriptor with base DATA + USER; the rest is VALUE.
.macro based selector, value
    movabs rax, \value
    mov rcx, offset data + USER
    mov rdx, rcx
    shl rdx, 40
    shr rdx, 24
    or rax, rdx
    shr rcx, 24
    shl rcx, 56
    or rax, rcx
    mov [rip + gdt + ((\selector) & ~7)], rax
.endm

main:
    # 16 bytes; expand-down from 16 to 64 KiB; code of which 16 bytes.
    based SMALL, 0x0040f3000000000f
    based READ_ONLY, 0x0040f1000000000f
    based DOWN, 0x0000f7000000000f
    based EXECUTE_ONLY, 0x0040f9000000000f
    # Base 0xffffff00: what is beyond 4 GiB wraps.
    set_descriptor HIGH, 0xffcff3ffff00ffff
    run_user32 user32
    ret

.code32
user32:
    mov eax, USER_DS
    mov gs, eax
    mov eax, SMALL
    mov fs, eax
    access t1, mov al, fs:[15]
    access t2, mov al, fs:[16]
    access t3, mov ax, fs:[14]
    access t4, mov ax, fs:[15]
    access t5, mov eax, fs:[13]
    access t6, mov fs:[12], eax
    access t7, mov fs:[0xffffffff], al
    mov eax, READ_ONLY
    mov fs, eax
    access t8, mov al, fs:[0]
    access t9, mov fs:[0], al
    mov eax, DOWN
    mov fs, eax
    access t10, mov al, fs:[15]
    access t11, mov al, fs:[16]
    access t12, mov al, fs:[0xffff]
    access t13, mov al, fs:[0x10000]
    access t14, mov ax, fs:[0xffff]
    mov eax, EXECUTE_ONLY
    access t15, mov fs, eax
    xor eax, eax
    access t16, mov fs, eax
    access t17, mov al, fs:[0]
    mov eax, HIGH
    mov fs, eax
    access t18, mov eax, fs:[0x40000100 + data]
    # The stack.
    mov edx, esp
    mov eax, SMALL
    mov ecx, SMALL
    mov ebx, ss
    # 16 bytes, from the top down.
    mov ss, eax
    mov esp, 16
    mov dword ptr gs:[resume_at + USER], offset 1f + USER
    mov dword ptr gs:[fault_vector + USER], -1
    push eax
    push eax
    push eax
    push eax
    push eax
1:  mov ss, ebx
    xchg edx, esp
    mov ebp, offset t19
    call note_user32
    mov [after + USER], edx
    jmp USER_CS:user64 + USER

.code64

user64:
    print_noted
    show "ESP then", [rip + after]
    leave_user

.section .rodata
t1: .asciz "limit 15, byte at 15"
t2: .asciz "byte at 16"
t3: .asciz "word at 14"
t4: .asciz "word at 15"
t5: .asciz "doubleword at 13"
t6: .asciz "write of a doubleword at 12"
t7: .asciz "write of a byte at 0xffffffff"
t8: .asciz "read-only, read"
t9: .asciz "read-only, write"
t10: .asciz "expand-down from 16, byte at 15"
t11: .asciz "byte at 16"
t12: .asciz "byte at 0xffff"
t13: .asciz "byte at 0x10000"
t14: .asciz "word at 0xffff"
t15: .asciz "loading execute-only code into FS"
t16: .asciz "loading null into FS"
t17: .asciz "read through null"
t18: .asciz "wrapping around at 4 GiB"
t19: .asciz "the fifth PUSH into 16 bytes"

.data
.balign 8
after: .quad 0
# Expand-down segments reach 64 KiB up from here.
data: .fill 64, 1, 0
.bss
    .skip 0x10000
