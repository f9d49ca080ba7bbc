# String instructions: directions, sizes, overlapping moves, address sizes, and what RCX, RSI, RDI and the
# flags are afterwards. With RCX = 0 nothing happens, not even a fault.
# Intel SDM Vol. 2, "MOVS", "STOS", "LODS", "CMPS", "SCAS", "REP".
#
# engines: interpreter, timing, qemu
# expect:
#   MOVSB by one place up: RCX 0x0, RSI 0xa, RDI 0xb, ZF 1, CF 0
#       bytes: 0x0
#   by one place down, bytes: 0x807060504030201
#   MOVSQ backwards: RCX 0x0, RSI 0xfffffffffffffff8, RDI 0x38, ZF 1, CF 0
#       quadwords: 0x706050403020100
#       : 0xf0e0d0c0b0a0908
#   compared equal up to: 0xff1
#   RCX left: 0xf
#   SCASB for 9: RCX 0x16, RSI 0x0, RDI 0xa, ZF 1, CF 0
#   SCASB for what isn't there: RCX 0x0, RSI 0x0, RDI 0x10, ZF 0, CF 0
#   SCASB while 0: RCX 0xe, RSI 0x0, RDI 0x2, ZF 0, CF 1
#   LODSW: 0xffffffffffff0100
#   LODSD: 0x5040302
#   RCX = 0, CF as before: 0x1
#   32-bit addresses, RCX: 0x0
#   RSI: yes
#   MOVSB into a page that isn't there: #PF(0x2)
#       RDI: 0x1000
#       RCX: 0x10
#       CR2: yes
#   brought on the way: RCX: 0x0
#       what came: 0x1f1e1d1c1b1a1918
#   [exit 0]

.include "runtime.inc"

# RSI and RDI are shown as distances from the buffers.
.macro state what
    pushfq
    pop r8
    cld
    print "\what: "
    call print_state
.endm

main:
    call fill
    # A move that overlaps upwards copies what it has just written.
    lea rsi, [rip + from]
    lea rdi, [rip + from + 1]
    mov ecx, 10
    rep movsb
    state "MOVSB by one place up"
    show "    bytes", [rip + from]
    call fill
    lea rsi, [rip + from + 1]
    lea rdi, [rip + from]
    mov ecx, 10
    rep movsb
    show "by one place down, bytes", [rip + from]
    call fill
    # Backwards.
    std
    lea rsi, [rip + from + 8]
    lea rdi, [rip + to + 8]
    mov ecx, 2
    rep movsq
    state "MOVSQ backwards"
    show "    quadwords", [rip + to]
    show "    ", [rip + to + 8]
    # A long one, over pages, with sources and destinations in different places of their pages.
    mov rax, 0x0123456789abcdef
    lea rdi, [rip + page_a]
    mov ecx, 0x200
    rep stosq
    lea rsi, [rip + page_a + 3]
    lea rdi, [rip + page_c + 5]
    mov ecx, 0xff0
    rep movsb
    lea rsi, [rip + page_a + 3]
    lea rdi, [rip + page_c + 5]
    mov ecx, 0x1000
    repe cmpsb
    lea rax, [rip + page_c + 5]
    sub rdi, rax
    show "compared equal up to", rdi
    show "RCX left", rcx
    # SCAS and its flags.
    call fill
    lea rsi, [rip + from]
    lea rdi, [rip + from]
    mov al, 9
    mov ecx, 32
    repne scasb
    state "SCASB for 9"
    lea rsi, [rip + from]
    lea rdi, [rip + from]
    mov al, 77
    mov ecx, 16
    repne scasb
    state "SCASB for what isn't there"
    lea rsi, [rip + from]
    lea rdi, [rip + from]
    xor eax, eax
    mov ecx, 16
    repe scasb
    state "SCASB while 0"
    # LODS merges.
    mov rax, -1
    lea rsi, [rip + from]
    lodsw
    show "LODSW", rax
    lodsd
    show "LODSD", rax
    # RCX = 0: nothing, even with an address that is none. ZF is as before.
    movabs rsi, 0x8000000000000000
    mov rdi, rsi
    xor ecx, ecx
    stc
    rep movsb
    setc al
    movzx eax, al
    show "RCX = 0, CF as before", rax
    # A 32-bit address size counts ECX and takes ESI and EDI.
    mov rcx, 0xffffffff00000002
    mov rsi, offset from
    bts rsi, 40
    mov rdi, offset to
    bts rdi, 40
    rep movsb byte ptr [edi], byte ptr [esi]
    show "32-bit addresses, RCX", rcx
    check_address "RSI", rsi, from + 2
    # A fault on the way: registers at the element that faults.
    map_page PLAY, page_a, P | W
    map_page PLAY + 0x1000, page_b, 0
    mov edi, PLAY + 0xff0
    lea rsi, [rip + from]
    mov ecx, 32
    try
    rep movsb
    tried "MOVSB into a page that isn't there"
    mov eax, PLAY
    sub rdi, rax
    show "    RDI", rdi
    show "    RCX", rcx
    mov eax, PLAY + 0x1000
    check "    CR2", [rip + fault_cr2], rax
    # A handler that maps it lets it go on.
    on_interrupt 14, bring
    mov edi, PLAY + 0xff8
    lea rsi, [rip + from]
    mov ecx, 4
    rep movsq
    show "brought on the way: RCX", rcx
    show "    what came", [rip + page_b + 16]
    ret

bring:
    map_page PLAY + 0x1000, page_b, P | W
    ret

# from: 0, 1, 2 ... 31; to: zeros.
fill:
    lea rdi, [rip + from]
    xor eax, eax
1:  mov [rdi + rax], al
    mov byte ptr [rdi + rax + 64], 0
    inc eax
    cmp eax, 32
    jne 1b
    ret

print_state:
    print "RCX "
    print_hex rcx
    lea rax, [rip + from]
    sub rdi, rax
    sub rsi, rax
    print ", RSI "
    print_hex rsi
    print ", RDI "
    print_hex rdi
    bt r8, 6
    setc al
    movzx eax, al
    print ", ZF "
    print_dec rax
    bt r8, 0
    setc al
    movzx eax, al
    print ", CF "
    print_dec rax
    println
    ret

.bss
.balign 64
from: .skip 64
to: .skip 64
