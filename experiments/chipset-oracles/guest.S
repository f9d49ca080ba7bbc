# A guest that carries out a script of register accesses and reports what it read, and when.
#
# The script comes as the first multiboot module: records of four 32-bit words (operation, a, b, c),
# ending with operation 0. The report goes to port 0xE9: for each record the time-stamp counter (64
# bits) three instructions after it, then a value (64 bits), then 1 if the access was a general-protection fault, else 0
# (64 bits). Then the machine is turned off through port 0xF4.

        .set END, 0
        .set OUT8, 1            # port a, value b
        .set IN8, 2             # port a
        .set WRITE32, 3         # address a, value b
        .set READ32, 4          # address a
        .set WRMSR, 5           # register a, value c:b
        .set RDMSR, 6           # register a
        .set WINDOW, 7          # interrupts are open for a moment: the vector taken, or -1
        .set WAIT, 8            # until c:b after the beginning of the script
        .set IN32, 9            # port a
        .set RECORD_SIZE, 24

        .text
        .code32
        .align 4
        .long 0x1badb002, 3, -(0x1badb002 + 3)      # Multiboot header
        .globl _start
_start:
        cli
        movl $stack_top, %esp
        movl 24(%ebx), %esi             # mods_addr
        movl (%esi), %esi               # the first one's start
        lgdt gdt_pointer
        ljmp $8, $1f
1:      movl $16, %eax
        movl %eax, %ds
        movl %eax, %es
        movl %eax, %ss

        # Vector 13 has a handler of its own, 16 and up have stubs of sixteen bytes.
        movl $general_protection, %eax
        movl $13, %ecx
        call set_gate
        movl $stubs, %eax
        movl $16, %ecx
1:      call set_gate
        addl $16, %eax
        incl %ecx
        cmpl $256, %ecx
        jne 1b
        lidt idt_pointer

        movl $report, %edi
        rdtsc
        movl %eax, begin
        movl %edx, begin + 4

next:   movl (%esi), %ebp
        movl $0, fault
        movl 4(%esi), %edx
        movl %edx, %ecx
        movl 8(%esi), %eax
        jmp *operations(,%ebp,4)

        # Every operation leaves its value in %edx:%eax and goes on at `finish`, which is as far from
        # its access for all of them, so that the time of the access follows from the time stamp.
out8:   outb %al, %dx
        jmp finish
in8:    xorl %eax, %eax
        inb %dx, %al
        jmp finish
in32:   inl %dx, %eax
        jmp finish
write32:
        movl %eax, (%edx)
        jmp finish
read32: movl (%edx), %eax
        jmp finish
write_msr:
        movl 12(%esi), %edx
        wrmsr
        jmp finish
read_msr:
        rdmsr
        movl %edx, %ecx
        jmp finish
window: movl $-1, taken
        sti
        nop
        .rept 8                         # where an interrupt that waits gets its chance
        inb $0x80, %al
        .endr
        cli
        movl taken, %eax
        jmp finish
wait:   rdtsc
        subl begin, %eax
        sbbl begin + 4, %edx
        subl 8(%esi), %eax
        sbbl 12(%esi), %edx
        jc wait
        jmp finish

finish: movl %eax, %ebx
        rdtsc
        movl %eax, (%edi)
        movl %edx, 4(%edi)
        movl %ebx, 8(%edi)
        movl $0, 12(%edi)
        cmpl $6, %ebp                   # RDMSR has a high half
        jne 1f
        movl %ecx, 12(%edi)
1:      movl fault, %eax
        movl %eax, 16(%edi)
        movl $0, 20(%edi)
        addl $16, %esi
        addl $RECORD_SIZE, %edi
        jmp next

done:   movl %edi, %ecx
        movl $report, %esi
        subl %esi, %ecx
        movl $0xe9, %edx
        rep outsb
        movl $0xf4, %edx
        xorl %eax, %eax
        outl %eax, %dx
1:      hlt
        jmp 1b

set_gate:                               # vector %ecx, handler %eax
        movw %ax, idt(,%ecx,8)
        movw $8, idt + 2(,%ecx,8)
        movw $0x8e00, idt + 4(,%ecx,8)
        movl %eax, %edx
        shrl $16, %edx
        movw %dx, idt + 6(,%ecx,8)
        ret

        # Both handlers return without IRET, which not every KVM carries out everywhere.
general_protection:                     # RDMSR and WRMSR are two bytes long
        movl $1, fault
        popl %eax
        popl %eax
        addl $2, %eax
        addl $8, %esp
        jmp *%eax

        .align 16
stubs:  .set vector, 16
        .rept 240
        .align 16
        pushl $vector
        jmp external
        .set vector, vector + 1
        .endr

external:                               # one interrupt for each window: leave them closed
        popl taken
        popl %eax
        addl $8, %esp
        jmp *%eax

        .data
        .align 8
operations:
        .long done, out8, in8, write32, read32, write_msr, read_msr, window, wait, in32
gdt:    .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdt_pointer:
        .word 23
        .long gdt
idt_pointer:
        .word 2047
        .long idt

        .bss
        .align 8
idt:    .skip 2048
begin:  .skip 8
fault:  .skip 4
taken:  .skip 4
        .skip 4096
stack_top:
        .align 16
report: .skip 24 * 65536
