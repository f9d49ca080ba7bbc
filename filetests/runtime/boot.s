# From the boot loader to `main` in 64-bit mode; descriptor tables, page tables, the end.
#
# Multiboot starts processor 0 in protected mode without paging; the others come through `smp.s`.
# Both meet in `enter_long_mode`.

.include "runtime.inc"

.set IST_STACK_SIZE, 1024
# 104 bytes, the map of 128 bytes for ports below 0x400, and what the processor reads beyond it.
.set TSS_SIZE, 256

.section .boot, "awx"
.code32

.set MULTIBOOT_MAGIC, 0x1badb002
# Address fields are valid; memory information is wanted.
.set MULTIBOOT_FLAGS, 0x10002

.globl start
multiboot_header:
    .long MULTIBOOT_MAGIC
    .long MULTIBOOT_FLAGS
    .long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)
    .long multiboot_header
    .long image_start
    .long image_end
    .long image_bss_end
    .long start
start:
    mov esp, offset kernel_stacks + STACK_SIZE
    call build_page_tables
    xor ebp, ebp
    jmp enter_long_mode

# EBP is the processor's number, ESP its stack. From protected mode without paging.
.globl enter_long_mode
enter_long_mode:
    lgdt [gdt_pointer]
    # PAE, OSFXSR, OSXMMEXCPT.
    mov eax, 0x620
    mov cr4, eax
    mov eax, offset pml4
    mov cr3, eax
    # SCE, LME, NXE.
    mov ecx, EFER
    mov eax, 0x901
    xor edx, edx
    wrmsr
    # PG, WP, NE, ET, MP, PE. Caching on.
    mov eax, 0x80010033
    mov cr0, eax
    jmp KERNEL_CS:long_mode

# Fills the tables: identity, the user view, the play window, and the last GiB with the APIC.
build_page_tables:
    mov dword ptr [pml4], offset pdpt + (P | W | U)
    mov dword ptr [pdpt], offset identity_directory + (P | W)
    mov dword ptr [pdpt + 8], offset user_directory + (P | W | U)
    mov dword ptr [pdpt + 16], offset play_directory + (P | W | U)
    mov dword ptr [pdpt + 24], offset device_directory + (P | W)
    mov dword ptr [play_directory], offset play_table + (P | W | U)
    mov eax, PS | P | W
    xor ecx, ecx
1:  mov [identity_directory + 8 * ecx], eax
    lea edx, [eax + U]
    mov [user_directory + 8 * ecx], edx
    lea edx, [eax + 0xc0000000 + PCD]
    mov [device_directory + 8 * ecx], edx
    add eax, 1 << 21
    inc ecx
    cmp ecx, 512
    jne 1b
    ret

.text
.code64
long_mode:
    mov esp, esp
    mov eax, KERNEL_DS
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    test ebp, ebp
    jnz 1f
    call build_interrupt_table
    # Firmware may have left the 8259s open, with the timer at vector 8.
    mov al, 0xff
    out 0x21, al
    out 0xa1, al
1:  lidt [rip + idt_pointer]
    mov edi, ebp
    call build_task_state
    test ebp, ebp
    jnz run_processor
    call main
    xor edi, edi

# Ends the program with the status in EDI, by the debug-exit port.
.globl exit_program
exit_program:
    mov eax, edi
    out 0xf4, eax
1:  cli
    hlt
    jmp 1b

# Every vector's gate leads to its stub; INT 0x80 and INT3 may be called by user code.
build_interrupt_table:
    lea rdi, [rip + idt]
    lea rax, [rip + interrupt_stubs]
    xor ecx, ecx
1:  mov edx, eax
    and edx, 0xffff0000
    # Present, DPL 0, interrupt gate.
    or edx, 0x8e00
    cmp ecx, 0x80
    je 2f
    cmp ecx, 3
    jne 3f
2:  or edx, 0x6000
3:  mov [rdi], ax
    mov word ptr [rdi + 2], KERNEL_CS
    mov [rdi + 4], edx
    mov qword ptr [rdi + 8], 0
    add rdi, 16
    add rax, 16
    inc ecx
    cmp ecx, 256
    jne 1b
    # A double fault can't trust the stack it finds.
    use_ist 8, 1
    ret

# TSS and its descriptor for processor EDI, and loads TR.
build_task_state:
    imul ebx, edi, TSS_SIZE
    lea rax, [rip + task_states]
    add rbx, rax
    # RSP0 and the IST stacks.
    mov ecx, edi
    inc ecx
    imul rcx, rcx, STACK_SIZE
    lea rax, [rip + interrupt_stacks]
    add rax, rcx
    mov [rbx + 4], rax
    imul ecx, edi, 7 * IST_STACK_SIZE
    lea rax, [rip + ist_stacks]
    add rax, rcx
    xor ecx, ecx
1:  add rax, IST_STACK_SIZE
    mov [rbx + 0x24 + 8 * rcx], rax
    inc ecx
    cmp ecx, 7
    jne 1b
    # The I/O permission map: all ones but for the serial port.
    mov word ptr [rbx + 0x66], 0x68
    mov rax, -1
    xor ecx, ecx
2:  mov [rbx + 0x68 + 8 * rcx], rax
    inc ecx
    cmp ecx, 17
    jne 2b
    mov byte ptr [rbx + 0x68 + 0x3f8 / 8], 0
    # The descriptor.
    mov ecx, edi
    shl ecx, 4
    lea rax, [rip + gdt + FIRST_TSS]
    add rax, rcx
    mov word ptr [rax], TSS_SIZE - 1
    mov [rax + 2], bx
    mov rdx, rbx
    shr rdx, 16
    mov [rax + 4], dl
    mov byte ptr [rax + 5], 0x89
    mov byte ptr [rax + 6], 0
    shr rdx, 8
    mov [rax + 7], dl
    shr rdx, 8
    mov [rax + 8], rdx
    add ecx, FIRST_TSS
    ltr cx
    ret

# The number of this processor in RAX.
.globl this_cpu
this_cpu:
    xor eax, eax
    str ax
    sub eax, FIRST_TSS
    shr eax, 4
    ret

.data
.balign 16
.globl gdt
gdt:
    .quad 0
    .quad 0x00af9b000000ffff # KERNEL_CS
    .quad 0x00cf93000000ffff # KERNEL_DS
    .quad 0x00cffb000000ffff # USER_CS32
    .quad 0x00cff3000000ffff # USER_DS
    .quad 0x00affb000000ffff # USER_CS
    .quad 0x00cf9b000000ffff # KERNEL_CS32
    .quad 0x00009b000000ffff # KERNEL_CS16
    .quad 0x000093000000ffff # KERNEL_DS16
    .quad 0
    .fill 2 * CPUS_MAX, 8, 0
    .fill 16, 8, 0
gdt_end:
.globl gdt_pointer
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt
.globl idt_pointer
idt_pointer:
    .word 256 * 16 - 1
    .quad idt

.bss
.balign 4096
.globl pml4, pdpt, identity_directory, user_directory, play_directory, play_table
pml4: .skip 4096
pdpt: .skip 4096
identity_directory: .skip 4096
user_directory: .skip 4096
play_directory: .skip 4096
play_table: .skip 4096
device_directory: .skip 4096
# Pages for tests to map.
.globl page_a, page_b, page_c, page_d
page_a: .skip 4096
page_b: .skip 4096
page_c: .skip 4096
page_d: .skip 4096
.globl idt, task_states
idt: .skip 256 * 16
task_states: .skip TSS_SIZE * CPUS_MAX
.balign 16
.globl kernel_stacks
kernel_stacks: .skip STACK_SIZE * CPUS_MAX
interrupt_stacks: .skip STACK_SIZE * CPUS_MAX
ist_stacks: .skip IST_STACK_SIZE * 7 * CPUS_MAX
# One user stack per processor, and processor 0's under its own name.
.globl user_stacks, user_stack_top, user_stack_top1
user_stacks: .skip 4096
user_stack_top: .skip 4096
user_stack_top1:
    .skip 4096 * (CPUS_MAX - 2)
