# DR0 to DR3 as breakpoints on data: a trap after the access. Lengths 1, 2, 4, 8; writes only, or reads and
# writes; any overlap matches. The list shows where the trap came (bytes from the start of the code) and
# DR6's low 16 bits.
# Intel SDM Vol. 3, "Data Memory and I/O Breakpoint Exception Conditions", "Breakpoint Field Recognition".
#
# QEMU 7.2 differs: it does not align the address to the length, misses an overlap when a second breakpoint
# stands at the same place, and does not delay the trap of MOV SS.
#
# engines: interpreter, timing
# expect:
#   writes, 1 byte: +13/0xff1 +19/0xff1 +36/0xff1
#   accesses, 1 byte: +10/0xff1 +13/0xff1 +19/0xff1 +32/0xff1 +36/0xff1 +40/0xff1
#   writes, 4 bytes: +13/0xff1 +19/0xff1 +22/0xff1 +36/0xff1
#   writes, 8 bytes: +13/0xff1 +19/0xff1 +22/0xff1 +25/0xff1 +36/0xff1
#   accesses, 8 bytes: +10/0xff1 +13/0xff1 +19/0xff1 +22/0xff1 +25/0xff1 +32/0xff1 +36/0xff1 +40/0xff1
#   writes, 2 bytes from an odd address: +13/0xff1 +19/0xff1 +22/0xff1 +36/0xff1
#   two at once: +10/0xff2 +13/0xff3 +19/0xff3 +32/0xff2 +36/0xff3 +40/0xff2
#   string: +12/0xff1
#   push and call: +8/0xff1 +20/0xff1
#   MOV SS from the watched place: +14/0xff1 +17/0xff1
#   [exit 0]

.include "runtime.inc"
# R/W and LEN fields of breakpoint 0, and L0.
.set WRITE, 1 << 16 | 1
.set ACCESS, 3 << 16 | 1
.set LENGTH1, 0
.set LENGTH2, 1 << 18
.set LENGTH8, 2 << 18
.set LENGTH4, 3 << 18

.macro run_with what, dr7_value, label
    print "\what:"
    mov eax, \dr7_value
    mov dr7, rax
    mov rax, offset \label + USER
    mov [rip + base], rax
    run_user \label
    xor eax, eax
    mov dr7, rax
    println
.endm

main:
    on_interrupt 1, debug
    user_address rax, data + 8
    mov dr0, rax
    mov dr1, rax
    run_with "writes, 1 byte", WRITE | LENGTH1, user
    run_with "accesses, 1 byte", ACCESS | LENGTH1, user
    run_with "writes, 4 bytes", WRITE | LENGTH4, user
    run_with "writes, 8 bytes", WRITE | LENGTH8, user
    run_with "accesses, 8 bytes", ACCESS | LENGTH8, user
    # The address is aligned to the length.
    user_address rax, data + 9
    mov dr0, rax
    run_with "writes, 2 bytes from an odd address", WRITE | LENGTH2, user
    user_address rax, data + 8
    mov dr0, rax
    run_with "two at once", WRITE | LENGTH1 | 3 << 20 | 4, user
    run_with "string", WRITE | LENGTH1, string
    run_with "push and call", WRITE | LENGTH8, stack
    run_with "MOV SS from the watched place", ACCESS | LENGTH8, load_ss
    ret

debug:
    mov rax, [rdi + FRAME_RIP]
    sub rax, [rip + base]
    print " +"
    print_dec rax
    print "/"
    mov rcx, dr6
    movzx ecx, cx
    print_hex rcx
    mov ecx, 0xffff0ff0
    mov dr6, rcx
    ret

user:
    lea rbx, [rip + data]
    mov al, [rbx + 8]
    mov [rbx + 8], al
    mov [rbx + 4], eax
    mov [rbx + 5], eax
    mov [rbx + 9], al
    mov [rbx + 15], al
    mov [rbx + 16], al
    mov rax, [rbx + 1]
    lock inc byte ptr [rbx + 8]
    cmp byte ptr [rbx + 8], 0
    leave_user

string:
    lea rdi, [rip + data]
    mov ecx, 16
    rep stosb
    nop
    leave_user

stack:
    lea rsp, [rip + data + 16]
    push rax
    lea rsp, [rip + data + 16]
    call 1f
1:  leave_user

load_ss:
    lea rbx, [rip + data + 8]
    mov qword ptr [rbx], USER_DS
    mov ss, [rbx]
    nop
    nop
    leave_user

.data
.balign 16
data: .fill 32, 1, 0
base: .quad 0
