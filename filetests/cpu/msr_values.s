# WRMSR refuses values that the register can't have, and RDMSR and WRMSR registers that don't exist; a
# refused write changes nothing.
# Intel SDM Vol. 2, "WRMSR"; Vol. 3, "Memory Cache Control", "Local APIC"; Vol. 4.
#
# engines: interpreter, timing
# expect:
#   LSTAR canonical: done
#   LSTAR not canonical: #GP(0x0)
#   CSTAR not canonical: #GP(0x0)
#   FS.base not canonical: #GP(0x0)
#   GS.base canonical: done
#   kernel GS.base not canonical: #GP(0x0)
#   FMASK, 32 bits: done
#   FMASK bit 32: #GP(0x0)
#   STAR takes anything: done
#   TSC_AUX, 32 bits: done
#   TSC_AUX bit 32: #GP(0x0)
#   PAT, good types: done
#   PAT type 2: #GP(0x0)
#   PAT type 3: #GP(0x0)
#   PAT type 8: #GP(0x0)
#   MTRR default type WB, enabled: done
#   MTRR default type 2: #GP(0x0)
#   MTRR default reserved bit: #GP(0x0)
#   MTRR base type 7: #GP(0x0)
#   MTRR mask beyond MAXPHYADDR: #GP(0x0)
#   SYSENTER_EIP not canonical: #GP(0x0)
#   XSS with UINTR: done
#   XSS with a user component: #GP(0x0)
#   UMWAIT_CONTROL: done
#   UMWAIT_CONTROL bit 1: #GP(0x0)
#   WRMSR of no such register: #GP(0x0)
#   RDMSR of no such register: #GP(0x0)
#   RDMSR of no such register: #GP(0x0)
#   WRMSR of MTRRcap: #GP(0x0)
#   RDMSR of an x2APIC register in xAPIC mode: #GP(0x0)
#   APIC base reserved bit: #GP(0x0)
#   x2APIC without enable: #GP(0x0)
#   APIC base beyond MAXPHYADDR: #GP(0x0)
#   RDMSR of the identifier in x2APIC mode: done
#   WRMSR of the identifier: #GP(0x0)
#   RDMSR of EOI: #GP(0x0)
#   WRMSR of EOI, not 0: #GP(0x0)
#   RDMSR of the DFR, which is gone: #GP(0x0)
#   RDMSR of the ICR's old high half: #GP(0x0)
#   TSC since it was written, over 2^20: 0x0
#   [exit 0]

.include "runtime.inc"

.macro write what, index, value
    read_msr \index
    mov r12, rax
    movabs rax, \value
    mov rdx, rax
    shr rdx, 32
    mov ecx, \index
    try
    wrmsr
    tried "\what"
    read_msr \index
    movabs rcx, \value
    cmp dword ptr [rip + fault_vector], -1
    cmovne rcx, r12
    cmp rax, rcx
    je 1f
    println "    reads wrong: "
1:  write_msr \index, r12
.endm

main:
    write "LSTAR canonical", LSTAR, 0x00007fffffffffff
    write "LSTAR not canonical", LSTAR, 0x0000800000000000
    write "CSTAR not canonical", CSTAR, 0x1000000000000000
    write "FS.base not canonical", 0xc0000100, 0x8000000000000000
    write "GS.base canonical", 0xc0000101, 0xffff800000000000
    write "kernel GS.base not canonical", 0xc0000102, 0x8000000000000000
    write "FMASK, 32 bits", FMASK, 0xffffffff
    write "FMASK bit 32", FMASK, 0x100000000
    write "STAR takes anything", STAR, 0xffffffffffffffff
    write "TSC_AUX, 32 bits", 0xc0000103, 0xffffffff
    write "TSC_AUX bit 32", 0xc0000103, 0x100000000
    write "PAT, good types", 0x277, 0x0007050400010606
    write "PAT type 2", 0x277, 0x0007050402010606
    write "PAT type 3", 0x277, 0x0307050400010606
    write "PAT type 8", 0x277, 0x0807050400010606
    write "MTRR default type WB, enabled", 0x2ff, 0xc06
    write "MTRR default type 2", 0x2ff, 0xc02
    write "MTRR default reserved bit", 0x2ff, 0x1c06
    write "MTRR base type 7", 0x200, 0x7
    write "MTRR mask beyond MAXPHYADDR", 0x201, 0x0001000000000800
    write "SYSENTER_EIP not canonical", 0x176, 0x0000800000000000
    write "XSS with UINTR", XSS, 0x4000
    write "XSS with a user component", XSS, 0x1
    write "UMWAIT_CONTROL", 0xe1, 0xfffffffd
    write "UMWAIT_CONTROL bit 1", 0xe1, 0x2
    try
    write_msr 0x12345, 0
    tried "WRMSR of no such register"
    try
    read_msr 0x12345
    tried "RDMSR of no such register"
    try
    read_msr 0xc0000108
    tried "RDMSR of no such register"
    # Read-only: MTRRcap.
    try
    write_msr 0xfe, 0
    tried "WRMSR of MTRRcap"
    # The APIC: x2APIC registers exist in x2APIC mode only.
    try
    read_msr 0x802
    tried "RDMSR of an x2APIC register in xAPIC mode"
    write "APIC base reserved bit", 0x1b, 0xfee00901
    write "x2APIC without enable", 0x1b, 0xfee00500
    write "APIC base beyond MAXPHYADDR", 0x1b, 0x0000400000000900
    use_x2apic
    try
    read_msr 0x802
    tried "RDMSR of the identifier in x2APIC mode"
    try
    write_msr 0x802, 0
    tried "WRMSR of the identifier"
    try
    read_msr 0x80b
    tried "RDMSR of EOI"
    try
    write_msr 0x80b, 1
    tried "WRMSR of EOI, not 0"
    try
    read_msr 0x80e
    tried "RDMSR of the DFR, which is gone"
    try
    read_msr 0x831
    tried "RDMSR of the ICR's old high half"
    # The TSC goes on from what is written.
    movabs r12, 0x123456789abcdef0
    write_msr 0x10, r12
    rdtsc
    shl rdx, 32
    or rax, rdx
    sub rax, r12
    shr rax, 20
    show "TSC since it was written, over 2^20", rax
    ret
