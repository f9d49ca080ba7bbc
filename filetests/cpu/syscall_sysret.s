# SYSCALL and SYSRET: what they load, what they keep, and when they fault.
# Intel SDM Vol. 2, "SYSCALL", "SYSRET".
#
# QEMU 7.2 differs: SYSRET to an address that is not canonical faults at the target, as on AMD's
# processors; SYSCALL in compatibility mode works with CSTAR, as there.
#
# engines: interpreter, timing
# expect:
#   SYSCALL without EFER.SCE: #UD
#   SYSRET without EFER.SCE: #UD
#     RCX: yes
#     R11: 0x246
#     RFLAGS: 0x97
#     CS: 0x8
#     SS: 0x10
#     RSP: yes
#     RFLAGS after SYSRET: 0x3c7ed7
#     CS: 0x2b
#     SS: 0x23
#   SYSRET at CPL 3: #GP(0x0)
#   with other flags
#     RCX: yes
#     R11: 0x247646
#     RFLAGS: 0x200097
#     CS: 0x8
#     SS: 0x10
#     RSP: yes
#     RFLAGS after SYSRET: 0x3c7ed7
#     CS: 0x2b
#     SS: 0x23
#   SYSRET at CPL 3: #GP(0x0)
#   SYSRET to an address that isn't canonical
#   SYSRETQ: #GP(0x0)
#   to 32-bit code
#     CS: 0x1b
#     SS: 0x23
#   SYSCALL in compatibility mode
#   user code ended with #UD
#   [exit 0]

.include "runtime.inc"

main:
    read_msr EFER
    btr eax, 0
    write_msr EFER, rax
    try
    syscall
    tried "SYSCALL without EFER.SCE"
    try
    sysretq
    tried "SYSRET without EFER.SCE"
    read_msr EFER
    bts eax, 0
    write_msr EFER, rax
    movabs rax, 0x0018000800000000
    write_msr STAR, rax
    lea rax, [rip + system_call]
    write_msr LSTAR, rax
    # TF, IF, DF, IOPL, NT, AC and CF.
    write_msr FMASK, 0x47701
    run_user user, 0x202
    println "with other flags"
    run_user user, 0x202 | RFLAGS_DF | RFLAGS_NT | RFLAGS_AC | RFLAGS_ID | RFLAGS_CF | RFLAGS_IOPL3
    println "SYSRET to an address that isn't canonical"
    movabs rcx, 0x0000800000000000
    mov r11d, 0x202
    try
    sysretq
    tried "SYSRETQ"
    # Only the low half of RCX counts.
    println "to 32-bit code"
    run_user back
    println "SYSCALL in compatibility mode"
    run_user32 syscall32
    ret

back:
    # Into the kernel by SYSCALL, which returns to 32-bit code.
    mov r10d, 1
    syscall

system_call:
    cmp r10d, 1
    je 1f
    pushfq
    pop r15
    mov r14, rcx
    mov r13, r11
    check_address "  RCX", r14, after + USER
    show "  R11", r13
    show "  RFLAGS", r15
    mov eax, cs
    show "  CS", rax
    mov eax, ss
    show "  SS", rax
    mov rcx, r14
    # VM, RF and reserved bits are not for SYSRET to load.
    mov r11, 0xfffffffffffffeff
    sysretq
1:  mov rcx, offset user32 + USER
    bts rcx, 63
    mov r11d, 0x202
    sysretd

user:
    mov rbx, rsp
    xor r10d, r10d
    syscall
after:
    pushfq
    pop r15
    push 2
    popfq
    mov r14, rsp
    check "  RSP", r14, rbx
    show "  RFLAGS after SYSRET", r15
    mov eax, cs
    show "  CS", rax
    mov eax, ss
    show "  SS", rax
    try
    sysretq
    tried "SYSRET at CPL 3"
    leave_user

.code32
user32:
    mov eax, cs
    mov [USER + selectors], eax
    mov eax, ss
    mov [USER + selectors + 8], eax
    # The 64-bit code shows them.
    jmp USER_CS:show_selectors + USER
syscall32:
    syscall
.code64
show_selectors:
    show "  CS", [rip + selectors]
    show "  SS", [rip + selectors + 8]
    leave_user

.data
.balign 8
selectors: .quad 0, 0
