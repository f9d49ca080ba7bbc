# SENDUIPI takes any of the sixteen registers, RSP included, and all 64 bits of it.
# Statement 17. Intel SDM Vol. 2, "SENDUIPI".
#
# engines: interpreter, timing
# expect:
#   SENDUIPI rax = 0: done
#   SENDUIPI rax = 2^32 + 0: #GP(0x0)
#   SENDUIPI rcx = 1: done
#   SENDUIPI rcx = 2^32 + 1: #GP(0x0)
#   SENDUIPI rdx = 2: done
#   SENDUIPI rdx = 2^32 + 2: #GP(0x0)
#   SENDUIPI rbx = 3: done
#   SENDUIPI rbx = 2^32 + 3: #GP(0x0)
#   SENDUIPI rbp = 5: done
#   SENDUIPI rbp = 2^32 + 5: #GP(0x0)
#   SENDUIPI rsi = 6: done
#   SENDUIPI rsi = 2^32 + 6: #GP(0x0)
#   SENDUIPI rdi = 7: done
#   SENDUIPI rdi = 2^32 + 7: #GP(0x0)
#   SENDUIPI r8 = 8: done
#   SENDUIPI r8 = 2^32 + 8: #GP(0x0)
#   SENDUIPI r9 = 9: done
#   SENDUIPI r9 = 2^32 + 9: #GP(0x0)
#   SENDUIPI r10 = 10: done
#   SENDUIPI r10 = 2^32 + 10: #GP(0x0)
#   SENDUIPI r11 = 11: done
#   SENDUIPI r11 = 2^32 + 11: #GP(0x0)
#   SENDUIPI r12 = 12: done
#   SENDUIPI r12 = 2^32 + 12: #GP(0x0)
#   SENDUIPI r13 = 13: done
#   SENDUIPI r13 = 2^32 + 13: #GP(0x0)
#   SENDUIPI r14 = 14: done
#   SENDUIPI r14 = 2^32 + 14: #GP(0x0)
#   SENDUIPI r15 = 15: done
#   SENDUIPI r15 = 2^32 + 15: #GP(0x0)
#   SENDUIPI rsp = 4: done
#   SENDUIPI rsp = 2^32 + 4: #GP(0x0)
#   upid: ON 0 SN 1 NV 0xec PIR 0xffff
#   [exit 0]

.include "runtime.inc"

.macro send register, index
    mov \register, \index
    try
    senduipi \register
    tried "SENDUIPI \register = \index"
    movabs \register, 0x100000000 + \index
    try
    senduipi \register
    tried "SENDUIPI \register = 2^32 + \index"
.endm

main:
    use_xapic
    uintr_setup log_user_interrupt
    or byte ptr [rip + upid], UPID_SN
    run_user user
    show_upid upid
    ret

user:
    send rax, 0
    send rcx, 1
    send rdx, 2
    send rbx, 3
    send rbp, 5
    send rsi, 6
    send rdi, 7
    send r8, 8
    send r9, 9
    send r10, 10
    send r11, 11
    send r12, 12
    send r13, 13
    send r14, 14
    send r15, 15
    # RSP can't be used by `try` meanwhile; the fault comes in on the kernel's stack.
    mov rbx, rsp
    lea rax, [rip + 1f]
    mov [rip + resume_at], rax
    mov dword ptr [rip + fault_vector], -1
    mov esp, 4
    senduipi rsp
1:  mov rsp, rbx
    print "SENDUIPI rsp = 4"
    call print_outcome
    lea rax, [rip + 2f]
    mov [rip + resume_at], rax
    mov dword ptr [rip + fault_vector], -1
    movabs rsp, 0x100000004
    senduipi rsp
2:  mov rsp, rbx
    print "SENDUIPI rsp = 2^32 + 4"
    call print_outcome
    leave_user
