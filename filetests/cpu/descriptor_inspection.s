# LAR, LSL, VERR, VERW: which descriptors they look at, by type, privilege and RPL.
# Intel SDM Vol. 2, "LAR", "LSL", "VERR/VERW".
#
# engines: interpreter, timing, qemu
# expect:
#   CPL 0
#   null: - -
#   kernel code: 0xa09b00 0xffffffff readable
#   kernel data: 0xc09300 0xffffffff readable writable
#   user code: 0xa0fb00 0xffffffff readable
#   user data: 0xc0f300 0xffffffff readable writable
#   user data, RPL 0: 0xc0f300 0xffffffff readable writable
#   32-bit kernel code: 0xc09b00 0xffffffff readable
#   16-bit kernel code: 0x9b00 0xffff readable
#   TSS: 0x8b00 0xff
#   conforming code: 0xa09f00 0xffffffff readable
#   execute-only user code: 0xa0f900 0xffffffff
#   read-only user data: 0xc0f100 0xffffffff readable
#   not present user data: 0xc07300 0xffffffff readable writable
#   user expand-down: 0x40f700 0x1234 readable writable
#   LDT descriptor: 0x8200 0xff
#   call gate: 0xec00 -
#   interrupt gate: - -
#   beyond the GDT: - -
#   CPL 3
#   null: - -
#   kernel code: - -
#   kernel data: - -
#   user code: 0xa0fb00 0xffffffff readable
#   user data: 0xc0f300 0xffffffff readable writable
#   user data, RPL 0: 0xc0f300 0xffffffff readable writable
#   32-bit kernel code: - -
#   16-bit kernel code: - -
#   TSS: - -
#   conforming code: 0xa09f00 0xffffffff readable
#   execute-only user code: 0xa0f900 0xffffffff
#   read-only user data: 0xc0f100 0xffffffff readable
#   not present user data: 0xc07300 0xffffffff readable writable
#   user expand-down: 0x40f700 0x1234 readable writable
#   LDT descriptor: - -
#   call gate: 0xec00 -
#   interrupt gate: - -
#   beyond the GDT: - -
#   [exit 0]

.include "runtime.inc"

# One line: LAR (or -), LSL (or -), VERR, VERW.
.macro look what, selector
    print "\what:"
    mov ecx, \selector
    call inspect
.endm

.macro all
    look "null", 0
    look "kernel code", KERNEL_CS
    look "kernel data", KERNEL_DS
    look "user code", USER_CS
    look "user data", USER_DS
    look "user data, RPL 0", USER_DS & ~3
    look "32-bit kernel code", KERNEL_CS32
    look "16-bit kernel code", KERNEL_CS16
    look "TSS", FIRST_TSS
    look "conforming code", FREE_SELECTOR
    look "execute-only user code", (FREE_SELECTOR + 8) | 3
    look "read-only user data", (FREE_SELECTOR + 16) | 3
    look "not present user data", (FREE_SELECTOR + 24) | 3
    look "user expand-down", (FREE_SELECTOR + 32) | 3
    look "LDT descriptor", FREE_SELECTOR + 40
    look "call gate", (FREE_SELECTOR + 56) | 3
    look "interrupt gate", (FREE_SELECTOR + 72) | 3
    look "beyond the GDT", 0xff8
.endm

main:
    set_descriptor FREE_SELECTOR, 0x00af9f000000ffff
    set_descriptor FREE_SELECTOR + 8, 0x00aff9000000ffff
    set_descriptor FREE_SELECTOR + 16, 0x00cff1000000ffff
    set_descriptor FREE_SELECTOR + 24, 0x00cf73000000ffff
    set_descriptor FREE_SELECTOR + 32, 0x0040f70000001234
    set_descriptor FREE_SELECTOR + 40, 0x00008200000000ff
    set_descriptor FREE_SELECTOR + 56, 0x0000ec0000080000
    set_descriptor FREE_SELECTOR + 72, 0x0000ee0000080000
    println "CPL 0"
    all
    println "CPL 3"
    run_user user
    ret

user:
    all
    leave_user

inspect:
    mov rax, -1
    lar eax, ecx
    jnz 1f
    # Bits 19:16 are undefined.
    and eax, 0xf0ff00
    print " "
    print_hex rax
    jmp 2f
1:  print " -"
2:  mov rax, -1
    lsl eax, ecx
    jnz 3f
    print " "
    print_hex rax
    jmp 4f
3:  print " -"
4:  verr cx
    jnz 5f
    print " readable"
5:  verw cx
    jnz 6f
    print " writable"
6:  println
    ret
