# The local APIC, in whichever mode it is. SDM Vol. 3, "Advanced Programmable Interrupt Controller".

.include "runtime.inc"
.text

.set IA32_APIC_BASE, 0x1b
.set APIC_PAGE, 0xfee00000

# CF: the APIC is in x2APIC mode. Changes RAX, RCX, RDX.
is_x2apic:
    mov ecx, IA32_APIC_BASE
    rdmsr
    bt eax, 10
    ret

.globl enable_xapic
enable_xapic:
    mov ecx, IA32_APIC_BASE
    rdmsr
    or eax, 1 << 11
    wrmsr
    # Enabled by software; spurious vector 0xff.
    apic_write APIC_SVR, 0x1ff
    ret

.globl enable_x2apic
enable_x2apic:
    mov ecx, IA32_APIC_BASE
    rdmsr
    or eax, 1 << 11
    wrmsr
    or eax, 1 << 10
    wrmsr
    apic_write APIC_SVR, 0x1ff
    ret

# EAX = register EDI.
.globl read_apic
read_apic:
    call is_x2apic
    jc 1f
    mov eax, APIC_PAGE
    mov eax, [rax + rdi]
    ret
1:  shr edi, 4
    lea ecx, [rdi + 0x800]
    rdmsr
    ret

# Register EDI = ESI.
.globl write_apic
write_apic:
    call is_x2apic
    jc 1f
    mov eax, APIC_PAGE
    mov [rax + rdi], esi
    ret
1:  shr edi, 4
    lea ecx, [rdi + 0x800]
    mov eax, esi
    xor edx, edx
    wrmsr
    ret

# An interrupt command: low half ESI, to APIC identifier EDI.
.globl send_icr
send_icr:
    call is_x2apic
    jc 2f
    mov eax, APIC_PAGE
1:  bt dword ptr [rax + APIC_ICR], 12
    jc 1b
    shl edi, 24
    mov [rax + APIC_ICR + 16], edi
    mov [rax + APIC_ICR], esi
    ret
2:  mov ecx, 0x830
    mov eax, esi
    mov edx, edi
    wrmsr
    ret

# This processor's APIC identifier, in EAX. Changes RCX, RDX, RDI.
.globl apic_identifier
apic_identifier:
    call is_x2apic
    jc 1f
    apic_read APIC_ID
    shr eax, 24
    ret
1:  apic_read APIC_ID
    ret
