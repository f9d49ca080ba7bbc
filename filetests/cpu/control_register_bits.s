# Which values CR0, CR3, CR4, CR8 and EFER refuse. Every refusal leaves the register as it was.
# Intel SDM Vol. 3, "Control Registers", "Extended Feature Enable Register"; Vol. 2, "MOV-Move to/from Control
# Registers".
#
# QEMU 7.2 differs: it takes most reserved bits silently.
#
# engines: interpreter, timing
# expect:
#   cr0 bit 1 (MP): done
#       changed: 1
#   cr0 bit 4 (ET, always 1): done
#       changed: 0
#   cr0 bit 6 (reserved, ignored): done
#       changed: 0
#   cr0 bit 16 (WP): done
#       changed: 1
#   cr0 bit 17 (reserved, ignored): done
#       changed: 0
#   cr0 bit 18 (AM): done
#       changed: 1
#   cr0 bit 29 (NW without CD): #GP(0x0)
#       changed: 0
#   cr0 bit 30 (CD): done
#       changed: 1
#   cr0 bit 31 (PG in 64-bit mode): #GP(0x0)
#       changed: 0
#   cr0 bit 0 (PE with PG): #GP(0x0)
#       changed: 0
#   cr0 bit 32 (reserved): #GP(0x0)
#       changed: 0
#   cr0 bit 63 (reserved): #GP(0x0)
#       changed: 0
#   cr4 bit 2 (TSD): done
#       changed: 1
#   cr4 bit 5 (PAE in 64-bit mode): #GP(0x0)
#       changed: 0
#   cr4 bit 7 (PGE): done
#       changed: 1
#   cr4 bit 12 (LA57, not enumerated): #GP(0x0)
#       changed: 0
#   cr4 bit 13 (VMXE, not enumerated): #GP(0x0)
#       changed: 0
#   cr4 bit 15 (reserved): #GP(0x0)
#       changed: 0
#   cr4 bit 17 (PCIDE): done
#       changed: 1
#   cr4 bit 19 (reserved): #GP(0x0)
#       changed: 0
#   cr4 bit 20 (SMEP): done
#       changed: 1
#   cr4 bit 23 (CET, not enumerated): #GP(0x0)
#       changed: 0
#   cr4 bit 25 (UINTR): done
#       changed: 1
#   cr4 bit 26 (reserved): #GP(0x0)
#       changed: 0
#   cr4 bit 32 (reserved): #GP(0x0)
#       changed: 0
#   cr3 bit 3 (PWT): done
#       changed: 1
#   cr3 bit 0 (ignored): done
#       changed: 1
#   cr3 bit 46 (beyond MAXPHYADDR): #GP(0x0)
#       changed: 0
#   cr3 bit 63 (without PCIDE): #GP(0x0)
#       changed: 0
#   CR8 = 15: done
#   CR8: 0xf
#   CR8 = 16: #GP(0x0)
#   CR8: 0xf
#   MOV RAX, CR1: #UD
#   MOV RAX, CR5: #UD
#   LOCK MOV RAX, CR0: #UD
#   EFER bit 0 (SCE): done
#       changed: 1
#   EFER bit 8 (LME with paging): #GP(0x0)
#       changed: 0
#   EFER bit 10 (LMA, read-only): done
#       changed: 0
#   EFER bit 11 (NXE): done
#       changed: 1
#   EFER bit 1 (reserved): #GP(0x0)
#       changed: 0
#   EFER bit 12 (SVME, AMD's): #GP(0x0)
#       changed: 0
#   EFER bit 63 (reserved): #GP(0x0)
#       changed: 0
#   MOV RAX, CR4 at CPL 3: #GP(0x0)
#   MOV RAX, CR8 at CPL 3: #GP(0x0)
#   CLTS at CPL 3: #GP(0x0)
#   SMSW at CPL 3: done
#   LMSW at CPL 3: #GP(0x0)
#   [exit 0]

.include "runtime.inc"

# Toggles one bit of a control register, and back.
.macro toggle register, bit, what
    mov rax, \register
    mov r12, rax
    btc rax, \bit
    try
    mov \register, rax
    tried "\register bit \bit (\what)"
    mov rax, \register
    xor rax, r12
    bt rax, \bit
    setc al
    movzx eax, al
    mov rcx, r12
    mov \register, rcx
    print "    changed: "
    print_dec rax
    println
.endm

main:
    toggle cr0, 1, "MP"
    toggle cr0, 4, "ET, always 1"
    toggle cr0, 6, "reserved, ignored"
    toggle cr0, 16, "WP"
    toggle cr0, 17, "reserved, ignored"
    toggle cr0, 18, "AM"
    toggle cr0, 29, "NW without CD"
    toggle cr0, 30, "CD"
    toggle cr0, 31, "PG in 64-bit mode"
    toggle cr0, 0, "PE with PG"
    toggle cr0, 32, "reserved"
    toggle cr0, 63, "reserved"
    toggle cr4, 2, "TSD"
    toggle cr4, 5, "PAE in 64-bit mode"
    toggle cr4, 7, "PGE"
    toggle cr4, 12, "LA57, not enumerated"
    toggle cr4, 13, "VMXE, not enumerated"
    toggle cr4, 15, "reserved"
    toggle cr4, 17, "PCIDE"
    toggle cr4, 19, "reserved"
    toggle cr4, 20, "SMEP"
    toggle cr4, 23, "CET, not enumerated"
    toggle cr4, 25, "UINTR"
    toggle cr4, 26, "reserved"
    toggle cr4, 32, "reserved"
    toggle cr3, 3, "PWT"
    toggle cr3, 0, "ignored"
    toggle cr3, 46, "beyond MAXPHYADDR"
    toggle cr3, 63, "without PCIDE"
    mov eax, 15
    try
    mov cr8, rax
    tried "CR8 = 15"
    mov rax, cr8
    show "CR8", rax
    mov eax, 16
    try
    mov cr8, rax
    tried "CR8 = 16"
    mov rax, cr8
    show "CR8", rax
    xor eax, eax
    mov cr8, rax
    try
    .byte 0x0f, 0x20, 0xc8
    tried "MOV RAX, CR1"
    try
    .byte 0x0f, 0x20, 0xe8
    tried "MOV RAX, CR5"
    # LOCK does not make CR8 of CR0 on Intel's processors.
    try
    .byte 0xf0, 0x0f, 0x20, 0xc0
    tried "LOCK MOV RAX, CR0"

.macro toggle_efer bit, what
    read_msr EFER
    mov r12, rax
    btc rax, \bit
    try
    write_msr EFER, rax
    tried "EFER bit \bit (\what)"
    read_msr EFER
    xor rax, r12
    bt rax, \bit
    setc bl
    movzx ebx, bl
    write_msr EFER, r12
    print "    changed: "
    print_dec rbx
    println
.endm
    toggle_efer 0, "SCE"
    toggle_efer 8, "LME with paging"
    toggle_efer 10, "LMA, read-only"
    toggle_efer 11, "NXE"
    toggle_efer 1, "reserved"
    toggle_efer 12, "SVME, AMD's"
    toggle_efer 63, "reserved"
    run_user user
    ret

user:
    try
    mov rax, cr4
    tried "MOV RAX, CR4 at CPL 3"
    try
    mov rax, cr8
    tried "MOV RAX, CR8 at CPL 3"
    try
    clts
    tried "CLTS at CPL 3"
    try
    smsw eax
    tried "SMSW at CPL 3"
    try
    lmsw ax
    tried "LMSW at CPL 3"
    leave_user
