# Component 14 is a supervisor one: XCR0[14] can't be set, IA32_XSS[14] can.
# Statement 58. Intel SDM Vol. 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled Features".
#
# engines: interpreter, timing
# expect:
#   XCR0: 0x1
#   XCR0[14]: #GP(0x0)
#   XCR0[1:0]: done
#   IA32_XSS[14]: done
#   IA32_XSS: 0x4000
#   IA32_XSS[13]: #GP(0x0)
#   XRSTOR: #GP(0x0)
#   XSTATE_BV[14] by XSAVEC: 0x0
#   [exit 0]

.include "runtime.inc"

main:
    set_cr4 CR4_OSXSAVE
    xor ecx, ecx
    xgetbv
    show "XCR0", rax
    mov eax, 1 << 14 | 3
    xor edx, edx
    try
    xsetbv
    tried "XCR0[14]"
    mov eax, 3
    try
    xsetbv
    tried "XCR0[1:0]"
    try
    write_msr XSS, 1 << 14
    tried "IA32_XSS[14]"
    read_msr XSS
    show "IA32_XSS", rax
    try
    write_msr XSS, 1 << 13
    tried "IA32_XSS[13]"
    # XRSTOR, the instruction for user components, refuses an image with it.
    mov eax, 1 << 14
    xor edx, edx
    try
    xrstor64 [rip + image]
    tried "XRSTOR"
    # XSAVEC doesn't save it.
    set_cr4 CR4_UINTR
    stui
    mov eax, -1
    mov edx, eax
    xsavec64 [rip + area]
    mov eax, [rip + area + 512]
    and eax, 1 << 14
    show "XSTATE_BV[14] by XSAVEC", rax
    ret

.data
.balign 64
image:
    .fill 512, 1, 0
    .quad 1 << 14, 1 << 63 | 1 << 14, 0, 0, 0, 0, 0, 0
    .quad 0x2000, 128, 0xf000000007, 0x3040, 0x10, 0x4001
    .skip 16
.bss
.balign 64
area: .skip 4096
