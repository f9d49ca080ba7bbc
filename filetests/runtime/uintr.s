# User interrupts: an ordinary receiver and sender.

.include "runtime.inc"
.text

# See `uintr_setup`: RDI is the handler.
.globl setup_user_interrupts
setup_user_interrupts:
    push rbx
    push r12
    mov r12, rdi
    set_cr4 CR4_UINTR
    call this_cpu
    mov ebx, eax
    write_msr UINTR_HANDLER, r12
    write_msr UINTR_STACKADJUST, 128
    # UINV, and the highest index of `uitt`.
    write_msr UINTR_MISC, (NOTIFY << 32) | 15
    lea rdi, [rip + upid]
    imul rax, rbx, 64
    add rdi, rax
    mov r12, rdi
    write_msr UINTR_PD, r12
    lea rdi, [rip + uitt]
    or rdi, 1
    write_msr UINTR_TT, rdi
    call apic_identifier
    mov edx, eax
    mov rdi, r12
    mov esi, NOTIFY
    call set_upid
    test ebx, ebx
    jnz 2f
    # Entry n posts vector n to processor 0.
    lea rdi, [rip + uitt]
    lea rsi, [rip + upid]
    mov eax, 1
1:  mov [rdi], rax
    mov [rdi + 8], rsi
    add rdi, 16
    add eax, 0x100
    cmp eax, 0x1001
    jne 1b
2:  pop r12
    pop rbx
    ret

# The UPID at RDI: empty, notification vector ESI, destination: APIC identifier EDX.
.globl set_upid
set_upid:
    push rbx
    push r12
    mov rbx, rdi
    mov r12d, edx
    shl esi, 16
    mov [rbx], esi
    mov ecx, 0x1b
    rdmsr
    bt eax, 10
    jc 1f
    # An xAPIC identifier stands in bits 15:8.
    shl r12d, 8
1:  mov [rbx + 4], r12d
    mov qword ptr [rbx + 8], 0
    pop r12
    pop rbx
    ret

# A handler that notes its vector in the event log and what it found in the ui_* variables, and
# returns.
.globl log_user_interrupt
log_user_interrupt:
    pushfq
    push rdi
    push rax
    mov rax, [rsp + 16]
    mov [rip + ui_entry_rflags], rax
    lea rax, [rsp + 24]
    mov [rip + ui_entry_rsp], rax
    mov rax, [rsp + 32]
    mov [rip + ui_rip], rax
    mov rax, [rsp + 40]
    mov [rip + ui_rflags], rax
    mov rax, [rsp + 48]
    mov [rip + ui_rsp], rax
    mov rdi, [rsp + 24]
    add edi, 0x100
    call log_event
    pop rax
    pop rdi
    add rsp, 16
    uiret

.globl print_upid
print_upid:
    pushfq
    push rax
    print "upid: ON "
    mov eax, [rdi]
    and eax, 1
    print_dec rax
    print " SN "
    mov eax, [rdi]
    shr eax, 1
    and eax, 1
    print_dec rax
    print " NV "
    movzx eax, byte ptr [rdi + 2]
    print_hex rax
    print " PIR "
    print_hex [rdi + 8]
    println
    pop rax
    popfq
    ret

.bss
.balign 64
# One per processor, and spare ones.
.globl upid
upid: .skip 64 * 2 * CPUS_MAX
.globl uitt
uitt: .skip 16 * 16
# The last user interrupt that `log_user_interrupt` took: the frame, and RSP and RFLAGS at the
# handler's first instruction.
.balign 8
.globl ui_rip, ui_rflags, ui_rsp, ui_entry_rsp, ui_entry_rflags
ui_rip: .skip 8
ui_rflags: .skip 8
ui_rsp: .skip 8
ui_entry_rsp: .skip 8
ui_entry_rflags: .skip 8
