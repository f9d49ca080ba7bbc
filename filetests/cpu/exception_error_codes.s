# Each exception that a program can raise with little effort, with its error code; faults report the
# instruction's own address, traps the next one's.
# Intel SDM Vol. 3, "Exception and Interrupt Reference"; Vol. 2, the pages of the mnemonics.
#
# QEMU 7.2 differs: no INT1; #GP instead of #SS for addresses relative to RBP that are not canonical;
# near branches to such addresses fault at the target, as on AMD's processors; a null SS with another
# RPL than CPL is accepted; error codes of IDT entries are the vector times 16.
#
# engines: interpreter, timing
# expect:
#   div ecx: #DE
#     at the instruction
#   ud2: #UD
#     at the instruction
#   int3: #BP
#     after it
#   .byte 0xf1: #DB
#     after it
#   fnop: #NM
#     at the instruction
#   pxor xmm0,xmm0: #NM
#     at the instruction
#   fnop: #NM
#     at the instruction
#   pxor xmm0,xmm0: #UD
#     at the instruction
#   mov al,[rbx]: #GP(0x0)
#     at the instruction
#   push [rbx]: #GP(0x0)
#     at the instruction
#   mov al,[rbp]: #SS(0x0)
#     at the instruction
#   mov al,[rbx+rbp * 1+8]: done
#   call rbx: #GP(0x0)
#     at the instruction
#   jmp rbx: #GP(0x0)
#     at the instruction
#   mov ds,eax: #GP(0xfffc)
#     at the instruction
#   mov ds,eax: #GP(0x50)
#     at the instruction
#   mov ds,eax: #NP(0xd0)
#     at the instruction
#   mov ss,eax: #SS(0xd0)
#     at the instruction
#   mov ds,eax: #GP(0xd0)
#     at the instruction
#   mov ss,eax: #GP(0xd0)
#     at the instruction
#   mov ss,eax: #GP(0x10)
#     at the instruction
#   mov ss,eax: done
#   mov ss,eax: #GP(0x0)
#     at the instruction
#   ltr ax: #GP(0x0)
#     at the instruction
#   ltr ax: #GP(0x10)
#     at the instruction
#   lldt ax: #GP(0x10)
#     at the instruction
#   ltr ax: #GP(0x50)
#     at the instruction
#   lldt ax: #NP(0xd0)
#     at the instruction
#   int 0x41: #GP(0x20a)
#     at the instruction
#   int 0x41: #NP(0x20a)
#     at the instruction
#   int 0x42: #GP(0x212)
#     at the instruction
#   CPL 3
#   hlt: #GP(0x0)
#     at the instruction
#   cli: #GP(0x0)
#     at the instruction
#   mov rax,cr0: #GP(0x0)
#     at the instruction
#   in al,0x60: #GP(0x0)
#     at the instruction
#   int 0x41: #GP(0x20a)
#     at the instruction
#   int 0x43: #GP(0x21a)
#     at the instruction
#   int3: #BP
#     after it
#   lgdt [rax]: #GP(0x0)
#     at the instruction
#   rdmsr: #GP(0x0)
#     at the instruction
#   swapgs: #GP(0x0)
#     at the instruction
#   wbinvd: #GP(0x0)
#     at the instruction
#   mov ds,eax: #GP(0x10)
#     at the instruction
#   mov ss,eax: #GP(0x10)
#     at the instruction
#   [exit 0]

.include "runtime.inc"

# Runs the instruction and says whether the saved RIP is its own, the next one's, or another.
.macro raise instruction:vararg
    try
1:  \instruction
2:
    tried "\instruction"
    lea r14, [rip + 1b]
    lea r15, [rip + 2b]
    call where
.endm

main:
    xor ecx, ecx
    raise div ecx
    raise ud2
    raise int3
    raise .byte 0xf1
    # CR0.TS.
    mov rax, cr0
    or rax, 8
    mov cr0, rax
    raise fnop
    raise pxor xmm0, xmm0
    clts
    # CR0.EM.
    set_cr0 4
    raise fnop
    raise pxor xmm0, xmm0
    clear_cr0 4
    movabs rbx, 0x8000000000000000
    raise mov al, [rbx]
    raise push [rbx]
    mov rbp, rbx
    raise mov al, [rbp]
    raise mov al, [rbx + rbp * 1 + 8]
    raise call rbx
    raise jmp rbx
    # Descriptors: the limit of the GDT, a system segment, code that can't be read, not present.
    mov eax, 0xffff
    raise mov ds, eax
    mov eax, FIRST_TSS
    raise mov ds, eax
    set_descriptor FREE_SELECTOR, 0x00cf13000000ffff
    mov eax, FREE_SELECTOR
    raise mov ds, eax
    raise mov ss, eax
    set_descriptor FREE_SELECTOR, 0x00cf99000000ffff
    mov eax, FREE_SELECTOR
    raise mov ds, eax
    raise mov ss, eax
    # RPL.
    mov eax, KERNEL_DS | 3
    raise mov ss, eax
    xor eax, eax
    raise mov ss, eax
    mov eax, 3
    raise mov ss, eax
    raise ltr ax
    mov eax, KERNEL_DS
    raise ltr ax
    raise lldt ax
    # The running TSS is busy.
    mov eax, FIRST_TSS
    raise ltr ax
    # Not present: the table has room for it.
    set_descriptor FREE_SELECTOR, 0x0000020000000000
    mov eax, FREE_SELECTOR
    raise lldt ax
    # Beyond the end of the IDT.
    lidt [rip + short_idt]
    raise int 0x41
    lidt [rip + idt_pointer]
    # A gate that isn't present, and one that isn't a gate.
    and byte ptr [rip + idt + 16 * 0x41 + 5], 0x7f
    raise int 0x41
    mov byte ptr [rip + idt + 16 * 0x42 + 5], 0x82
    raise int 0x42
    println "CPL 3"
    run_user user
    ret

where:
    cmp [rip + fault_rip], r14
    je 1f
    cmp [rip + fault_rip], r15
    je 2f
    cmp dword ptr [rip + fault_vector], -1
    je 3f
    print "  elsewhere, at + "
    sub [rip + fault_rip], r14
    print_hex [rip + fault_rip]
    println
3:  ret
1:  println "  at the instruction"
    ret
2:  println "  after it"
    ret

user:
    raise hlt
    raise cli
    raise mov rax, cr0
    raise in al, 0x60
    raise int 0x41
    raise int 0x43
    raise int3
    raise lgdt [rax]
    raise rdmsr
    raise swapgs
    raise wbinvd
    mov eax, KERNEL_DS
    raise mov ds, eax
    raise mov ss, eax
    leave_user

.data
short_idt:
    .word 16 * 0x41 - 1
    .quad idt
