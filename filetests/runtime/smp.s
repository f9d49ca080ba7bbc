# More processors: INIT, start-up IPIs, a real-mode trampoline, and the loop in which they wait for
# work. SDM Vol. 3, "MP Initialization for P6 Family and Later Processors".

.include "runtime.inc"
.text

.set TRAMPOLINE, 0x8000

# Starts processor EDI, whose APIC identifier is its number, and waits until it is in its loop.
.globl start_processor
start_processor:
    push rbx
    push r12
    mov ebx, edi
    # The trampoline is position-dependent: it knows that it is at TRAMPOLINE.
    mov edi, TRAMPOLINE
    lea rsi, [rip + trampoline]
    mov ecx, offset trampoline_end - trampoline
    rep movsb
    mov [rip + starting_number], ebx
    mov dword ptr [rip + processor_ready], 0
    mov edi, ebx
    mov esi, 0x4500
    call send_icr
    # Ten milliseconds on paper; what matters is that it has seen the INIT.
    mov r12d, 1000
1:  pause
    dec r12d
    jnz 1b
2:  mov edi, ebx
    mov esi, 0x4600 | (TRAMPOLINE >> 12)
    call send_icr
    mov r12d, 100000
3:  pause
    cmp dword ptr [rip + processor_ready], 1
    je 4f
    dec r12d
    jnz 3b
    jmp 2b
4:  pop r12
    pop rbx
    ret

# The loop of every processor but the first; EBP is its number.
.globl run_processor
run_processor:
    mov dword ptr [rip + processor_ready], 1
    lea rbx, [rip + work]
    lea rbx, [rbx + 8 * rbp]
1:  pause
    mov rax, [rbx]
    test rax, rax
    jz 1b
    push rbx
    push rbp
    call rax
    pop rbp
    pop rbx
    mov qword ptr [rbx], 0
    jmp 1b

.code16
trampoline:
    cli
    xor eax, eax
    mov ds, ax
    lgdt [TRAMPOLINE + trampoline_gdt - trampoline]
    mov eax, cr0
    or al, 1
    # Caches on.
    and eax, 0x9fffffff
    mov cr0, eax
    # A far jump with a 32-bit offset.
    .byte 0x66, 0xea
    .long trampoline32
    .word KERNEL_CS32
trampoline_gdt:
    .word 0xffff
    .long gdt
trampoline_end:

.code32
trampoline32:
    mov eax, KERNEL_DS
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov ebp, [starting_number]
    lea esp, [ebp + 1]
    imul esp, esp, STACK_SIZE
    add esp, offset kernel_stacks
    jmp enter_long_mode
.code64

.data
.balign 8
starting_number: .long 0
processor_ready: .long 0
# What each processor is to call; it writes 0 when it has.
.balign 8
.globl work
work: .fill CPUS_MAX, 8, 0
