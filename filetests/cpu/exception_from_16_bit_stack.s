# An exception in user code whose stack segment is one of 16 bits (SS.B clear): the handler finds SS null and
# a 64-bit stack, and IRET brings the segment back.
# Intel SDM Vol. 3, "Stack Switching in IA-32e Mode".
#
# engines: interpreter, qemu
# expect:
#   UD2: #UD
#   SS then: yes
#   UD2: #UD
#   [exit 0]

.include "runtime.inc"
.set STACK16, FREE_SELECTOR | 3

main:
    # Base 0, limit 4 GiB, B clear.
    set_descriptor STACK16, 0x008ff3000000ffff
    run_user user
    ret

user:
    mov eax, STACK16
    mov ss, eax
    try
    ud2
    tried "UD2"
    mov ecx, ss
    mov edx, STACK16
    check "SS then", rcx, rdx
    mov eax, USER_DS
    mov ss, eax
    try
    ud2
    tried "UD2"
    leave_user
