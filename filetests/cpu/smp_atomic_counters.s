# Several processors count in the same place: with LOCK INC, LOCK XADD, CMPXCHG loops, a ticket lock, a
# spinlock with XCHG, and CMPXCHG16B. No count is lost.
# Intel SDM Vol. 3, "Locked Atomic Operations".
#
# engines: interpreter, timing, qemu
# cpus: 4
# limit: 100000000
# expect:
#   turns of all processors: 8000
#   LOCK INC: 8000
#   LOCK XADD: 8000
#   CMPXCHG: 8000
#   ticket lock: 8000
#   XCHG lock: 8000
#   CMPXCHG16B, low and high: 8000, 16000
#   LOCK BTS and BTR as a lock: 8000
#   [exit 0]

.include "runtime.inc"
.set TURNS, 2000

main:
    use_xapic
    start_cpu 1
    start_cpu 2
    start_cpu 3
    on_cpu 1, count
    on_cpu 2, count
    on_cpu 3, count
    call count
    wait_cpu 1
    wait_cpu 2
    wait_cpu 3
    print "turns of all processors: "
    mov eax, 4 * TURNS
    print_dec rax
    println
    print "LOCK INC: "
    print_dec [rip + incremented]
    println
    print "LOCK XADD: "
    print_dec [rip + added]
    println
    print "CMPXCHG: "
    print_dec [rip + exchanged]
    println
    print "ticket lock: "
    print_dec [rip + ticketed]
    println
    print "XCHG lock: "
    print_dec [rip + locked]
    println
    print "CMPXCHG16B, low and high: "
    print_dec [rip + double]
    print ", "
    print_dec [rip + double + 8]
    println
    print "LOCK BTS and BTR as a lock: "
    print_dec [rip + bits]
    println
    ret

count:
    push rbx
    push rbp
    mov ebp, TURNS
1:  lock inc qword ptr [rip + incremented]
    mov eax, 1
    lock xadd [rip + added], rax
    mov rax, [rip + exchanged]
2:  lea rcx, [rax + 1]
    lock cmpxchg [rip + exchanged], rcx
    jne 2b
    # Ticket lock.
    mov eax, 1
    lock xadd [rip + tickets], eax
3:  cmp eax, [rip + serving]
    je 4f
    pause
    jmp 3b
4:  inc qword ptr [rip + ticketed]
    inc dword ptr [rip + serving]
    # A lock of XCHG.
5:  mov eax, 1
    xchg [rip + lock_word], eax
    test eax, eax
    jz 6f
    pause
    jmp 5b
6:  inc qword ptr [rip + locked]
    mov dword ptr [rip + lock_word], 0
    # Both halves at once.
    mov rax, [rip + double]
    mov rdx, [rip + double + 8]
7:  lea rbx, [rax + 1]
    lea rcx, [rdx + 2]
    lock cmpxchg16b [rip + double]
    jne 7b
    # A bit as a lock.
8:  lock bts dword ptr [rip + bit_lock], 5
    jnc 9f
    pause
    jmp 8b
9:  inc qword ptr [rip + bits]
    lock btr dword ptr [rip + bit_lock], 5
    dec ebp
    jnz 1b
    pop rbp
    pop rbx
    ret

.data
.balign 64
double: .quad 0, 0
incremented: .quad 0
added: .quad 0
exchanged: .quad 0
ticketed: .quad 0
locked: .quad 0
bits: .quad 0
tickets: .long 0
serving: .long 0
lock_word: .long 0
bit_lock: .long 0
