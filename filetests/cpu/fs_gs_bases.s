# FS and GS bases: by MSR, by WRFSBASE and WRGSBASE, by loading a selector, SWAPGS; addresses that wrap and that aren't canonical.
# Intel SDM Vol. 3, "Segment Loading Instructions in IA-32e Mode"; Vol. 2, "SWAPGS", "WRFSBASE/WRGSBASE".
#
# QEMU 7.2 lets WRFSBASE load an address that isn't canonical, and agrees otherwise.
#
# engines: interpreter, timing
# expect:
#   FS:[8]: 0x2222
#   GS:[-8]: 0x1111
#   base after MOV FS: 0x0
#   RDFSBASE without CR4.FSGSBASE: #UD
#   WRFSBASE: yes
#   WRFSBASE, not canonical: #GP(0x0)
#   WRGSBASE of EAX: 0xffffffff
#   after SWAPGS: 0x1000
#   the other one: yes
#   base -16, offset data + 16: 0x1111
#   a sum that isn't canonical: #GP(0x0)
#   LEA of FS:[0x20]: 0x20
#   at CPL 3, FS:[0]: 0x1111
#   SWAPGS at CPL 3: #GP(0x0)
#   [exit 0]

.include "runtime.inc"
.set FS_BASE, 0xc0000100
.set GS_BASE, 0xc0000101
.set KERNEL_GS_BASE, 0xc0000102

main:
    lea rbx, [rip + data]
    write_msr FS_BASE, rbx
    show "FS:[8]", fs:[8]
    lea rax, [rbx + 8]
    write_msr GS_BASE, rax
    show "GS:[-8]", gs:[-8]
    # A selector: the base of the descriptor.
    set_descriptor FREE_SELECTOR, 0x00cf93000000ffff
    mov eax, FREE_SELECTOR
    mov fs, eax
    read_msr FS_BASE
    show "base after MOV FS", rax
    try
    rdfsbase rax
    tried "RDFSBASE without CR4.FSGSBASE"
    set_cr4 1 << 16
    wrfsbase rbx
    rdfsbase rax
    check "WRFSBASE", rax, rbx
    movabs rax, 0x0000800000000000
    try
    wrfsbase rax
    tried "WRFSBASE, not canonical"
    # 32 bits are zero-extended.
    mov rax, -1
    wrgsbase eax
    rdgsbase rax
    show "WRGSBASE of EAX", rax
    mov eax, 0x1000
    write_msr KERNEL_GS_BASE, 0x1000
    wrgsbase rbx
    swapgs
    rdgsbase rax
    show "after SWAPGS", rax
    read_msr KERNEL_GS_BASE
    check "the other one", rax, rbx
    swapgs
    # The sum of base and offset is what must be canonical, and wraps at 2^64.
    movabs rax, 0xfffffffffffffff0
    wrfsbase rax
    lea rcx, [rbx + 16]
    show "base -16, offset data + 16", fs:[rcx]
    movabs rax, 0x00007ffffffffff0
    wrfsbase rax
    try
    mov al, fs:[0x20]
    tried "a sum that isn't canonical"
    # LEA knows no bases.
    .byte 0x64
    lea rax, [0x20]
    show "LEA of FS:[0x20]", rax
    # DS has none.
    run_user user
    ret

user:
    lea rbx, [rip + data]
    wrfsbase rbx
    show "at CPL 3, FS:[0]", fs:[0]
    try
    swapgs
    tried "SWAPGS at CPL 3"
    leave_user

.data
.balign 8
data: .quad 0x1111, 0x2222, 0x3333
