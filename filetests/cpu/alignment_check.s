# #AC(0) for accesses that aren't aligned to their size: at CPL 3 with CR0.AM and RFLAGS.AC set, and only
# then. Instructions that check alignment themselves raise #GP(0) at any time.
# Intel SDM Vol. 3, "Interrupt 17-Alignment Check Exception (#AC)".
#
# engines: interpreter, timing
# expect:
#   2 bytes at 1: done
#   4 bytes at 2: done
#   8 bytes at 4: done
#   1 byte at 3: done
#   4 bytes at 4: done
#   PUSH: done
#   CR0.AM = 1
#   2 bytes at 1: done
#   4 bytes at 2: done
#   8 bytes at 4: done
#   1 byte at 3: done
#   4 bytes at 4: done
#   PUSH: done
#   and RFLAGS.AC = 1
#   2 bytes at 1: #AC(0x0)
#   4 bytes at 2: #AC(0x0)
#   8 bytes at 4: #AC(0x0)
#   1 byte at 3: done
#   4 bytes at 4: done
#   PUSH: #AC(0x0)
#   the same at CPL 0
#   2 bytes at 1: done
#   4 bytes at 2: done
#   8 bytes at 4: done
#   1 byte at 3: done
#   4 bytes at 4: done
#   MOVAPS at 8: #GP(0x0)
#   CMPXCHG16B at 8: #GP(0x0)
#   FXSAVE at 8: #GP(0x0)
#   [exit 0]

.include "runtime.inc"

.macro accesses
    try
    mov ax, [rbx + 1]
    tried "2 bytes at 1"
    try
    mov [rbx + 2], eax
    tried "4 bytes at 2"
    try
    mov rax, [rbx + 4]
    tried "8 bytes at 4"
    try
    mov al, [rbx + 3]
    tried "1 byte at 3"
    try
    mov eax, [rbx + 4]
    tried "4 bytes at 4"
.endm

main:
    lea rbx, [rip + data]
    run_user user
    println "CR0.AM = 1"
    set_cr0 CR0_AM
    run_user user
    println "and RFLAGS.AC = 1"
    run_user user, 0x202 | RFLAGS_AC
    println "the same at CPL 0"
    pushfq
    or qword ptr [rsp], RFLAGS_AC
    popfq
    accesses
    push 2
    popfq
    try
    movaps xmm0, [rbx + 8]
    tried "MOVAPS at 8"
    try
    lock cmpxchg16b [rbx + 8]
    tried "CMPXCHG16B at 8"
    try
    fxsave [rbx + 8]
    tried "FXSAVE at 8"
    ret

user:
    lea rbx, [rip + data]
    accesses
    # A stack that isn't aligned.
    mov rbp, rsp
    lea rsp, [rip + data + 31]
    lea rax, [rip + 1f]
    mov [rip + resume_at], rax
    mov dword ptr [rip + fault_vector], -1
    push rax
1:  mov rsp, rbp
    print "PUSH"
    call print_outcome
    leave_user

.data
.balign 64
data: .fill 1024, 1, 0
