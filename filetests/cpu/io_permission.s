# IN and OUT at CPL 3: with CPL above IOPL the TSS's permission map decides, bit by bit for every byte of
# the access; beyond the map's end nothing is allowed.
# Intel SDM Vol. 1, "I/O Permission Bit Map".
#
# engines: interpreter, timing, qemu
# expect:
#   IOPL = 0
#   IN AL, 0xe0: done
#   IN AL, 0xe1: #GP(0x0)
#   IN AX, 0xe2: done
#   IN AX, 0xe3: #GP(0x0)
#   IN EAX, 0xe0: #GP(0x0)
#   OUT 0xe0, AL: done
#   OUT 0xe4, AL: #GP(0x0)
#   INSB from 0xe0: done
#   INSB from 0xe4: #GP(0x0)
#   REP OUTSB to 0xe4: #GP(0x0)
#       RCX: 0x3
#   IN AL from 0x1000: #GP(0x0)
#   CLI: #GP(0x0)
#   IOPL = 3
#   IN AL, 0xe0: done
#   IN AL, 0xe1: done
#   IN AX, 0xe2: done
#   IN AX, 0xe3: done
#   IN EAX, 0xe0: done
#   OUT 0xe0, AL: done
#   OUT 0xe4, AL: done
#   INSB from 0xe0: done
#   INSB from 0xe4: done
#   REP OUTSB to 0xe4: done
#       RCX: 0x0
#   IN AL from 0x1000: done
#   CLI: done
#   no map, IOPL = 0
#   user code ended with #GP(0x0)
#   fault: 0xd
#   [exit 0]

.include "runtime.inc"
.set MAP, 0x68

.macro access what, instruction:vararg
    try
    \instruction
    tried "\what"
.endm

main:
    # Ports 0xe0, 0xe2 and 0xe3 are allowed; nobody answers there.
    and byte ptr [rip + task_states + MAP + 0xe0 / 8], ~0b1101
    # The last port of the map, and the byte behind it that must be all ones.
    mov byte ptr [rip + task_states + MAP + 0x3f8 / 8], 0
    println "IOPL = 0"
    run_user user
    println "IOPL = 3"
    run_user user, 0x3202
    # A map outside the TSS.
    println "no map, IOPL = 0"
    mov word ptr [rip + task_states + 0x66], 0xffff
    run_user no_map
    mov edi, [rip + fault_vector]
    show "fault", rdi
    ret

user:
    access "IN AL, 0xe0", in al, 0xe0
    access "IN AL, 0xe1", in al, 0xe1
    access "IN AX, 0xe2", in ax, 0xe2
    access "IN AX, 0xe3", in ax, 0xe3
    access "IN EAX, 0xe0", in eax, 0xe0
    access "OUT 0xe0, AL", out 0xe0, al
    access "OUT 0xe4, AL", out 0xe4, al
    mov edx, 0xe0
    lea rdi, [rip + data]
    access "INSB from 0xe0", insb
    mov edx, 0xe4
    access "INSB from 0xe4", insb
    lea rsi, [rip + data]
    mov ecx, 3
    access "REP OUTSB to 0xe4", rep outsb
    show "    RCX", rcx
    mov edx, 0x1000
    access "IN AL from 0x1000", in al, dx
    access "CLI", cli
    leave_user

no_map:
    in al, 0xe0
    leave_user

.data
data: .fill 16, 1, 0
