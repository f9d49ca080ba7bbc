# To CPL 3 and back.

.include "runtime.inc"
.text

# Code at RDI with stack RSI, RFLAGS EDX, code segment ECX, stack segment R8D: at the privilege level
# that the selectors say, which is not 0. Returns when it leaves.
.globl enter_user
enter_user:
    pushfq
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    call this_cpu
    lea r9, [rip + kernel_rsp]
    mov [r9 + 8 * rax], rsp
    mov dword ptr [rip + fault_vector], -1
    # For 32-bit code; 64-bit code doesn't mind.
    mov eax, USER_DS
    mov ds, eax
    mov es, eax
    push r8
    push rsi
    push rdx
    push rcx
    push rdi
    iretq

# Comes here from `interrupt` with the frame in RDI: back to whoever called `enter_user`, with the
# user's registers where the calling convention lets a function change them.
.globl leave_user_mode
leave_user_mode:
    cmp dword ptr [rdi + FRAME_VECTOR], 32
    jae 2f
    push rdi
    mov esi, [rdi + FRAME_ERROR]
    mov edi, [rdi + FRAME_VECTOR]
    print "user code ended with "
    call print_exception
    println
    pop rdi
2:
    test byte ptr [rdi + FRAME_CS], 3
    jnz 1f
    println "left user mode without having been there"
    exit 1
1:  mov rsi, rdi
    call this_cpu
    lea r8, [rip + kernel_rsp]
    mov r8, [r8 + 8 * rax]
    # The user's RSP, RFLAGS and RIP for those who want to look.
    mov rax, [rsi + FRAME_RSP]
    mov [rip + user_rsp], rax
    mov rax, [rsi + FRAME_RFLAGS]
    mov [rip + user_rflags], rax
    mov rax, [rsi + FRAME_RIP]
    mov [rip + user_rip], rax
    mov rax, [rsi + FRAME_RAX]
    mov rcx, [rsi + FRAME_RCX]
    mov rdx, [rsi + FRAME_RDX]
    mov rdi, [rsi + FRAME_RDI]
    mov rsi, [rsi + FRAME_RSI]
    mov rsp, r8
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    popfq
    ret

# Appends the outcome of what EBP is about. In 32-bit user code, which cannot print.
.code32
.globl note_user32
note_user32:
    push eax
    push ecx
    mov ecx, [noted_end + USER]
    mov [ecx + USER], ebp
    mov eax, [fault_vector + USER]
    mov [ecx + 4 + USER], eax
    mov eax, [fault_error + USER]
    mov [ecx + 8 + USER], eax
    add dword ptr [noted_end + USER], 12
    pop ecx
    pop eax
    mov dword ptr [resume_at + USER], 0
    ret
.code64

.globl print_noted_outcomes
print_noted_outcomes:
    lea rbx, [rip + noted]
1:  mov edi, [rbx]
    test edi, edi
    jz 2f
    add rdi, USER
    call print_string
    print ": "
    mov edi, [rbx + 4]
    mov esi, [rbx + 8]
    call print_outcome32
    add rbx, 12
    jmp 1b
2:  ret

.data
.balign 8
noted_end: .quad noted

.bss
.balign 8
kernel_rsp: .skip 8 * CPUS_MAX
# What they were when user code left.
.globl user_rsp, user_rflags, user_rip
user_rsp: .skip 8
user_rflags: .skip 8
user_rip: .skip 8
.balign 8
# Text, vector, error code of each outcome; a text of zero ends them.
noted: .skip 12 * 33
