# Exceptions and interrupts: the stubs, the default handlers, the event log.

.include "runtime.inc"

# What the log holds at most.
.set EVENTS_MAX, 256

.text
# Vectors at which the processor pushes an error code.
.set HAS_ERROR, 1 << 8 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 17 | 1 << 21 | 1 << 29 | 1 << 30

.balign 16
.globl interrupt_stubs
interrupt_stubs:
.set vector, 0
.rept 256
    .balign 16
    .if vector >= 32
    push 0
    .elseif (HAS_ERROR >> vector) & 1 == 0
    push 0
    .endif
    push vector
    jmp interrupt
    .set vector, vector + 1
.endr

interrupt:
    push rax
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push rbp
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    cld
    mov rdi, rsp
    mov rbx, rsp
    and rsp, -16
    mov rax, [rdi + FRAME_VECTOR]
    lea rcx, [rip + handlers]
    mov rcx, [rcx + 8 * rax]
    test rcx, rcx
    jz 1f
    call rcx
    jmp 3f
1:  cmp eax, 0x80
    je leave_user_mode
    cmp eax, 32
    jb 2f
    call default_interrupt
    jmp 3f
2:  call default_exception
3:  mov rsp, rbx
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rbp
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    pop rax
    add rsp, 16
    iretq

default_interrupt:
    push rdi
    mov edi, [rdi + FRAME_VECTOR]
    call log_event
    apic_write APIC_EOI, 0
    pop rdi
    ret

# NMIs go to the event log; exceptions are noted, and go where `try` or `run_user` wants them.
.globl default_exception
default_exception:
    mov eax, [rdi + FRAME_VECTOR]
    cmp eax, 2
    jne 1f
    push rdi
    mov edi, 2
    call log_event
    pop rdi
    ret
1:  call note_fault
    xor eax, eax
    xchg rax, [rip + resume_at]
    test rax, rax
    jz 2f
    mov [rdi + FRAME_RIP], rax
    # Whoever was single-stepped is not any more.
    and qword ptr [rdi + FRAME_RFLAGS], ~(RFLAGS_TF | RFLAGS_RF)
    ret
2:  test byte ptr [rdi + FRAME_CS], 3
    jnz leave_user_mode
    mov rbp, rdi
    print "unexpected "
    mov edi, [rbp + FRAME_VECTOR]
    mov esi, [rbp + FRAME_ERROR]
    call print_exception
    print " at RIP "
    print_hex [rbp + FRAME_RIP]
    print ", RSP "
    print_hex [rbp + FRAME_RSP]
    print ", CR2 "
    mov rax, cr2
    print_hex rax
    println
    exit 1

# Copies the frame at RDI to the fault_* variables. Changes RAX.
.globl note_fault
note_fault:
    mov eax, [rdi + FRAME_VECTOR]
    mov [rip + fault_vector], eax
    mov rax, [rdi + FRAME_ERROR]
    mov [rip + fault_error], rax
    mov rax, [rdi + FRAME_RIP]
    mov [rip + fault_rip], rax
    mov rax, [rdi + FRAME_CS]
    mov [rip + fault_cs], rax
    mov rax, [rdi + FRAME_RFLAGS]
    mov [rip + fault_rflags], rax
    mov rax, [rdi + FRAME_RSP]
    mov [rip + fault_rsp], rax
    mov rax, [rdi + FRAME_SS]
    mov [rip + fault_ss], rax
    mov rax, cr2
    mov [rip + fault_cr2], rax
    ret

# `: done` or `: #PF(0x2)` and a line end; forgets what was tried. Keeps registers and flags.
.globl print_outcome
print_outcome:
    pushfq
    push rdi
    push rsi
    mov qword ptr [rip + resume_at], 0
    print ": "
    mov edi, [rip + fault_vector]
    cmp edi, -1
    jne 1f
    println "done"
    jmp 2f
1:  mov esi, [rip + fault_error]
    call print_exception
    println
2:  pop rsi
    pop rdi
    popfq
    ret

# The same for a vector in EDI and an error code in ESI.
.globl print_outcome32
print_outcome32:
    cmp edi, -1
    jne 1f
    println "done"
    ret
1:  call print_exception
    println
    ret

# Exception EDI with error code ESI. Keeps registers and flags.
.globl print_exception
print_exception:
    pushfq
    push rdi
    push rsi
    push rax
    mov eax, edi
    cmp eax, 32
    jae 1f
    lea rdi, [rip + exception_names]
    lea rdi, [rdi + 4 * rax]
    call print_string
    mov edi, HAS_ERROR
    bt edi, eax
    jnc 2f
    print "("
    print_hex rsi
    print ")"
    jmp 2f
1:  print "interrupt "
    print_hex rax
2:  pop rax
    pop rsi
    pop rdi
    popfq
    ret

# Adds an event to the log: a vector, 0x100 + user vector, 0x200 + letter. At any privilege level,
# on any processor. Keeps registers and flags.
.globl log_event
log_event:
    pushfq
    push rax
    push rbx
    mov eax, 1
    lock xadd [rip + event_count], eax
    cmp eax, EVENTS_MAX
    jae 1f
    lea rbx, [rip + events]
    mov [rbx + 2 * rax], di
1:  pop rbx
    pop rax
    popfq
    ret

.globl print_event_log
print_event_log:
    pushfq
    push rax
    push rbx
    push rcx
    push rdi
    print "events:"
    lea rbx, [rip + events]
    xor ecx, ecx
1:  cmp ecx, [rip + event_count]
    jae 5f
    cmp ecx, EVENTS_MAX
    jae 5f
    movzx edi, word ptr [rbx + 2 * rcx]
    inc ecx
    cmp ecx, 1
    je 2f
    print ","
2:  print " "
    cmp edi, 2
    je 3f
    cmp edi, 0x200
    jae 4f
    cmp edi, 0x100
    jae 6f
    print "interrupt "
    call print_number_hex
    jmp 1b
3:  print "NMI"
    jmp 1b
4:  mov eax, edi
    call print_character
    jmp 1b
6:  print "user interrupt "
    sub edi, 0x100
    call print_number_dec
    jmp 1b
5:  println
    mov dword ptr [rip + event_count], 0
    pop rdi
    pop rcx
    pop rbx
    pop rax
    popfq
    ret

.section .rodata
exception_names:
    .ascii "#DE\0#DB\0NMI\0#BP\0#OF\0#BR\0#UD\0#NM\0#DF\0#9 \0#TS\0#NP\0#SS\0#GP\0#PF\0#15\0"
    .ascii "#MF\0#AC\0#MC\0#XM\0#VE\0#CP\0#22\0#23\0#24\0#25\0#26\0#27\0#28\0#29\0#30\0#31\0"

.data
.balign 8
.globl fault_vector, fault_error, fault_rip, fault_cs, fault_rflags, fault_rsp, fault_ss, fault_cr2
# -1: none.
fault_vector: .quad -1
fault_error: .quad 0
fault_rip: .quad 0
fault_cs: .quad 0
fault_rflags: .quad 0
fault_rsp: .quad 0
fault_ss: .quad 0
fault_cr2: .quad 0
# Where `try` wants an exception to go on; 0: nowhere.
.globl resume_at
resume_at: .quad 0
# One function per vector; 0: the default.
.globl handlers
handlers: .fill 256, 8, 0

.globl events, event_count
event_count: .long 0
events: .fill EVENTS_MAX, 2, 0
