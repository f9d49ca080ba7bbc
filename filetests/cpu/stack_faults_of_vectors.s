# VCVTPS2PH into memory: of an address in the stack segment that is not canonical it raises #SS(0), of another
# #GP(0). A masked store of which one element lies across two pages reports the missing page's first byte, with
# alignment checks as without.
# Intel SDM Vol. 2, "VCVTPS2PH", "VMASKMOV".
#
# engines: interpreter
# cpu: x86-64-v3
# expect:
#   VCVTPS2PH [RBX]: #GP(0x0)
#   VCVTPS2PH [RBP]: #SS(0x0)
#   256 bits [RBP]: #SS(0x0)
#   VMASKMOVPD over the end: #PF(0x6)
#     at the first byte of the missing page: yes
#   with RFLAGS.AC: #PF(0x6)
#     at the first byte of the missing page: yes
#   [exit 0]

.include "runtime.inc"

.set LAST, PLAY + 0x1000

main:
    set_cr4 CR4_OSXSAVE
    xor ecx, ecx
    xor edx, edx
    mov eax, 7
    xsetbv
    movabs rbx, 0x800000000000
    mov rdx, rbp
    mov rbp, rbx
    try
    vcvtps2ph [rbx], xmm0, 0
    tried "VCVTPS2PH [RBX]"
    try
    vcvtps2ph [rbp], xmm0, 0
    tried "VCVTPS2PH [RBP]"
    try
    vcvtps2ph [rbp], ymm0, 0
    tried "256 bits [RBP]"
    mov rbp, rdx
    map_page PLAY, page, P | W | U
    map_page LAST, page, 0
    set_cr0 CR0_AM
    run_user user
    run_user checked, 0x202 | RFLAGS_AC
    ret

.macro store_over_the_end what
    mov rbx, offset LAST
    # The lowest quadword only.
    mov eax, -1
    vmovd xmm1, eax
    vpsllq xmm1, xmm1, 32
    try
    vmaskmovpd [rbx - 1], xmm1, xmm0
    tried "\what"
    mov rbx, offset LAST
    check "  at the first byte of the missing page", [rip + fault_cr2], rbx
    leave_user
.endm

user:
    store_over_the_end "VMASKMOVPD over the end"

checked:
    store_over_the_end "with RFLAGS.AC"

.bss
.balign 4096
page: .skip 4096
