# Out of 64-bit mode and back: protected mode without paging, and real mode.

.include "runtime.inc"

# Low memory: what `call_real` uses. Results are for the program.
.set THUNK, 0x4000
.set REAL_STACK_TOP, 0x7000

.text
# Calls the 32-bit code at EDI in protected mode without paging, with the flat segments KERNEL_CS32 and
# KERNEL_DS; exceptions go through the 32-bit IDT below, which knows `try`. It ends with RET. Changes every
# register but RSP.
.globl call_protected
call_protected:
    lea rax, [rip + 1f]
    mov [rip + continue_at], eax
    jmp leave_long_mode
.code32
1:  lidt [idt32_pointer]
    call edi
    jmp return_to_long_mode
.code64

# Copies the real-mode code from RDI to RSI to REAL_CODE and calls it there, with segments 0, the stack
# below it, and the interrupt vector table at 0. It ends with a near RET. Changes every register but RSP.
.globl call_real
call_real:
    mov rcx, rsi
    sub rcx, rdi
    mov rsi, rdi
    mov edi, REAL_CODE
    rep movsb
    lea rsi, [rip + thunk]
    mov edi, THUNK
    mov ecx, offset thunk_end - thunk
    rep movsb
    lea rax, [rip + 1f]
    mov [rip + continue_at], eax
    jmp leave_long_mode
.code32
1:  jmp KERNEL_CS16:THUNK

.code16
# Runs at THUNK.
thunk:
    mov ax, KERNEL_DS16
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov fs, ax
    mov gs, ax
    mov eax, cr0
    and al, 0xfe
    mov cr0, eax
    # CS = 0.
    .byte 0xea
    .word THUNK + (thunk_real - thunk)
    .word 0
thunk_real:
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov fs, ax
    mov gs, ax
    mov sp, REAL_STACK_TOP
    lidt [THUNK + (thunk_idt - thunk)]
    mov ax, REAL_CODE
    call ax
    cli
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0x66, 0xea
    .long return_to_long_mode
    .word KERNEL_CS32
thunk_idt:
    .word 0x3ff
    .long 0
thunk_end:

.code64
# Goes on at [continue_at], in protected mode without paging.
leave_long_mode:
    pop [rip + return_address]
    mov [rip + long_rsp], rsp
    push KERNEL_CS32
    lea rax, [rip + 1f]
    push rax
    rex64 retf
.code32
1:  mov eax, KERNEL_DS
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov eax, cr0
    and eax, 0x7fffffff
    mov cr0, eax
    mov ecx, EFER
    rdmsr
    and eax, ~0x100
    wrmsr
    jmp [continue_at]

return_to_long_mode:
    mov eax, KERNEL_DS
    mov ds, eax
    mov es, eax
    mov ss, eax
    # The program may have changed them.
    mov eax, 0x620
    mov cr4, eax
    mov eax, offset pml4
    mov cr3, eax
    mov ecx, EFER
    rdmsr
    or eax, 0x100
    wrmsr
    mov eax, 0x80010033
    mov cr0, eax
    jmp KERNEL_CS:1f
.code64
1:  lidt [rip + idt_pointer]
    mov rsp, [rip + long_rsp]
    push [rip + return_address]
    ret

# --- the 32-bit IDT: exceptions, and INT 0x41 to 0x43 for the program -----------------------------------

.code32
.set HAS_ERROR, 1 << 8 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 17
.balign 16
stubs32:
.set vector, 0
.rept 32
    .balign 16
    .if (HAS_ERROR >> vector) & 1 == 0
    push 0
    .endif
    push vector
    jmp exception32
    .set vector, vector + 1
.endr

exception32:
    push eax
    push ds
    mov eax, ss
    mov ds, eax
    # [esp]: DS, EAX, vector, error code, EIP, CS, EFLAGS, and from outer levels ESP, SS.
    mov eax, [esp + 8]
    mov [fault_vector], eax
    mov eax, [esp + 12]
    mov [fault_error], eax
    mov eax, [esp + 16]
    mov [fault_rip], eax
    mov eax, [esp + 20]
    mov [fault_cs], eax
    mov eax, [esp + 24]
    mov [fault_rflags], eax
    mov eax, cr2
    mov [fault_cr2], eax
    mov eax, [resume_at]
    mov [esp + 16], eax
    mov dword ptr [resume_at], 0
    # Nowhere to go on is the end.
    test eax, eax
    jz 1f
    pop ds
    pop eax
    add esp, 8
    iretd
1:  mov eax, 99
    out 0xf4, eax
    hlt
.code64

# Fills in the 32-bit IDT. Changes RAX, RCX, RDX, RDI.
.globl build_idt32
build_idt32:
    lea rdi, [rip + idt32]
    lea rax, [rip + stubs32]
    xor ecx, ecx
1:  mov edx, eax
    and edx, 0xffff0000
    or edx, 0x8e00
    mov [rdi], ax
    mov word ptr [rdi + 2], KERNEL_CS32
    mov [rdi + 4], edx
    add rdi, 8
    add rax, 16
    inc ecx
    cmp ecx, 32
    jne 1b
    ret

.data
.balign 8
continue_at: .quad 0
return_address: .quad 0
long_rsp: .quad 0
idt32_pointer:
    .word 8 * 128 - 1
    .long idt32
.bss
.balign 8
.globl idt32
idt32: .skip 8 * 128
