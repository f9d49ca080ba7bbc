# Which bytes AVX accesses touch: masked moves only the selected elements, a 256-bit store all or nothing, a
# gather one element after the other, so that it goes on after a fault where it was.
# Intel SDM Vol. 2, "VMASKMOV", "VPMASKMOV", "VGATHERDPS/VGATHERQPS".
# QEMU lets elements that a masked load does not select fault.
#
# engines: interpreter
# cpu: x86-64-v3
# expect:
#   16 bytes before the end
#   VMOVDQU ymm, load: #PF(0x0)
#     at the first byte of the missing page: yes
#   VMOVDQU ymm, store: #PF(0x2)
#     at the first byte of the missing page: yes
#   VMOVDQA ymm, store: #GP(0x0)
#   VMASKMOVPS of the elements that exist: done
#     got: 0x0 0x0 0x800000007 0x600000005
#   VMASKMOVPS of all: #PF(0x0)
#     at the first byte of the missing page: yes
#   VMASKMOVPS of all, store: #PF(0x2)
#     at the first byte of the missing page: yes
#     in memory: 0x800000007 0x600000005 0x400000003 0x200000001
#   VPMASKMOVD of those that exist, store: done
#     in memory: 0xffffffffffffffff 0xffffffffffffffff 0x400000003 0x200000001
#   VPMASKMOVQ of none: done
#     got: 0x0 0x0 0x0 0x0
#   VPMASKMOVQ of none at an address that is not canonical: done
#   gather, of which the sixth element is missing
#   VPGATHERDD: #PF(0x0)
#     at the first byte of the missing page: yes
#     first four: 0x0 0x0 0x500000006 0x700000008
#     still wanted: 0xe0
#   after the page has come: 0x200000003 0x4 0x500000006 0x700000008
#     still wanted: 0x0
#   gather of two by 64-bit indices into a register of four
#     got: 0x0 0x0 0x0 0x700000099
#     mask: 0x0 0x0 0x0 0x0
#   [exit 0]

.include "runtime.inc"

.set LAST, PLAY + 0x1000
.set PRESENT, 0x7

.macro show_fault
    mov rax, offset LAST
    check "  at the first byte of the missing page", [rip + fault_cr2], rax
.endm

.macro show_ymm what, register
    vmovups [rip + scratch], \register
    print "\what: "
    print_hex qword ptr [rip + scratch + 24]
    print " "
    print_hex qword ptr [rip + scratch + 16]
    print " "
    print_hex qword ptr [rip + scratch + 8]
    print " "
    print_hex qword ptr [rip + scratch]
    println
.endm

main:
    set_cr4 CR4_OSXSAVE
    xor ecx, ecx
    xor edx, edx
    mov eax, 7
    xsetbv
    # One page, and none behind it.
    map_page PLAY, page, PRESENT
    map_page LAST, page, 0
    mov rbx, offset LAST
    vpcmpeqd ymm0, ymm0, ymm0
    vmovdqu ymm1, [rip + low_half]
    vmovdqu ymm2, [rip + numbers]

    println "16 bytes before the end"
    vmovdqu [rbx - 32], ymm2
    try
    vmovdqu ymm3, [rbx - 16]
    tried "VMOVDQU ymm, load"
    show_fault
    try
    vmovdqu [rbx - 16], ymm0
    tried "VMOVDQU ymm, store"
    show_fault
    try
    vmovdqa [rbx - 16], ymm0
    tried "VMOVDQA ymm, store"
    try
    vmaskmovps ymm3, ymm1, [rbx - 16]
    tried "VMASKMOVPS of the elements that exist"
    show_ymm "  got", ymm3
    try
    vmaskmovps ymm3, ymm0, [rbx - 16]
    tried "VMASKMOVPS of all"
    show_fault
    try
    vmaskmovps [rbx - 16], ymm0, ymm0
    tried "VMASKMOVPS of all, store"
    show_fault
    vmovdqu ymm3, [rbx - 32]
    show_ymm "  in memory", ymm3
    try
    vpmaskmovd [rbx - 16], ymm1, ymm0
    tried "VPMASKMOVD of those that exist, store"
    vmovdqu ymm3, [rbx - 32]
    show_ymm "  in memory", ymm3
    vpxor xmm4, xmm4, xmm4
    try
    vpmaskmovq ymm3, ymm4, [rbx + 0x100]
    tried "VPMASKMOVQ of none"
    show_ymm "  got", ymm3
    mov rax, 0x0000800000000000
    try
    vpmaskmovq ymm3, ymm4, [rax]
    tried "VPMASKMOVQ of none at an address that is not canonical"

    println "gather, of which the sixth element is missing"
    vmovdqu [rbx - 32], ymm2
    vmovdqu ymm5, [rip + indices]
    vpcmpeqd ymm6, ymm6, ymm6
    vpxor xmm7, xmm7, xmm7
    try
    vpgatherdd ymm7, [rbx + ymm5 * 4], ymm6
    tried "VPGATHERDD"
    show_fault
    vextracti128 xmm3, ymm7, 0
    show_ymm "  first four", ymm3
    vmovmskps eax, ymm6
    show "  still wanted", rax
    # The page appears; only what is missing is fetched: the others would be others now.
    map_page LAST, page, PRESENT
    invlpg [rbx]
    mov dword ptr [rbx - 4], 0x99
    vpgatherdd ymm7, [rbx + ymm5 * 4], ymm6
    show_ymm "after the page has come", ymm7
    vmovmskps eax, ymm6
    show "  still wanted", rax
    println "gather of two by 64-bit indices into a register of four"
    vpcmpeqd ymm7, ymm7, ymm7
    vpcmpeqd ymm6, ymm6, ymm6
    vpmovsxdq xmm5, [rip + indices]
    vpgatherqd xmm7, [rbx + xmm5 * 4], xmm6
    show_ymm "  got", ymm7
    show_ymm "  mask", ymm6
    ret

.data
.balign 32
low_half: .long -1, -1, -1, -1, 0, 0, 0, 0
numbers: .long 1, 2, 3, 4, 5, 6, 7, 8
indices: .long -1, -2, -3, -4, -5, 0, -6, -7
.bss
.balign 4096
page: .skip 4096
scratch: .skip 32
