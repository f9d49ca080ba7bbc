# SGDT, SIDT, SLDT, STR and SMSW work at CPL 3, unless CR4.UMIP is set: then they are #GP(0). RDTSC under
# CR4.TSD and RDPMC without CR4.PCE are #GP(0) at CPL 3.
# Intel SDM Vol. 3, "Control Registers".
#
# engines: interpreter, timing
# expect:
#   SGDT: done
#   SIDT: done
#   SLDT: done
#   STR: done
#   SMSW: done
#   RDTSC: done
#   RDTSCP: done
#   UMIP, TSD
#   SGDT: #GP(0x0)
#   SIDT: #GP(0x0)
#   SLDT: #GP(0x0)
#   STR: #GP(0x0)
#   SMSW: #GP(0x0)
#   RDTSC: #GP(0x0)
#   RDTSCP: #GP(0x0)
#   CPL 0
#   SGDT: done
#   RDTSC: done
#   IDT limit: 0xfff
#   behind the ten bytes: 0x5a5a
#   IDT base: yes
#   [exit 0]

.include "runtime.inc"

main:
    run_user user
    println "UMIP, TSD"
    set_cr4 CR4_UMIP | 4
    run_user user
    println "CPL 0"
    try
    sgdt [rip + data]
    tried "SGDT"
    try
    rdtsc
    tried "RDTSC"
    # In 64-bit mode ten bytes are stored.
    mov word ptr [rip + data + 10], 0x5a5a
    sidt [rip + data]
    movzx eax, word ptr [rip + data]
    show "IDT limit", rax
    movzx eax, word ptr [rip + data + 10]
    show "behind the ten bytes", rax
    check_address "IDT base", [rip + data + 2], idt
    ret

user:
    try
    sgdt [rip + data]
    tried "SGDT"
    try
    sidt [rip + data]
    tried "SIDT"
    try
    sldt eax
    tried "SLDT"
    try
    str eax
    tried "STR"
    try
    smsw eax
    tried "SMSW"
    try
    rdtsc
    tried "RDTSC"
    try
    rdtscp
    tried "RDTSCP"
    leave_user

.data
.balign 8
data: .fill 16, 1, 0
