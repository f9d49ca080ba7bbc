# The firmware configuration interface: selecting an item starts at its first byte; bytes behind an item's end
# are zero; memory size, processors, command line.
# QEMU, "QEMU Firmware Configuration (fw_cfg) Device".
#
# engines: interpreter, timing, qemu
# cpus: 2
# memory: 24M
# expect:
#   signature: 0x51454d55
#   signature and two bytes more: 0x51454d550000
#   bytes of memory: 0x1800000
#   processors: 0x2
#   processors at most: 0x2
#   third character: 0x4d
#   [exit 0]

.include "runtime.inc"

# item KEY, LENGTH: gives that many bytes in RAX. Changes RCX, RDX.
.macro item key, length
    mov dx, 0x510
    mov ax, \key
    out dx, ax
    mov dx, 0x511
    xor eax, eax
    mov ecx, \length
.Lmore\@:
    shl rax, 8
    in al, dx
    loop .Lmore\@
.endm

main:
    item 0, 4
    show "signature", rax
    item 0, 6
    show "signature and two bytes more", rax
    item 3, 8
    bswap rax
    show "bytes of memory", rax
    item 5, 2
    xchg al, ah
    show "processors", rax
    item 0x0f, 2
    xchg al, ah
    show "processors at most", rax
    # The item goes on where it was left.
    item 0, 2
    in al, dx
    movzx eax, al
    show "third character", rax
    ret
