# SMEP: code on user pages can't be run at CPL 0. SMAP: data on user pages can't be accessed at CPL 0
# unless RFLAGS.AC is set. User code is not affected. STAC and CLAC are #UD at CPL 3.
# Intel SDM Vol. 3, "Access Rights".
#
# engines: interpreter, timing, qemu
# expect:
#   neither
#   read: done
#   write: done
#   fetch: done
#   SMEP
#   read: done
#   write: done
#   fetch: #PF(0x11)
#   SMEP and SMAP
#   read: #PF(0x1)
#   write: #PF(0x3)
#   fetch: #PF(0x11)
#   and AC = 1
#   read: done
#   write: done
#   fetch: #PF(0x11)
#   and AC = 0
#   read: #PF(0x1)
#   write: #PF(0x3)
#   fetch: #PF(0x11)
#   read: done
#   write: done
#   fetch: done
#   STAC: #UD
#   CLAC: #UD
#   CR0.WP = 0 lifts neither
#   read: #PF(0x1)
#   write: #PF(0x3)
#   fetch: #PF(0x11)
#   a write to a read-only user page with AC = 1
#   write: #PF(0x3)
#   [exit 0]

.include "runtime.inc"

.macro accesses
    try
    mov cl, [rbx]
    tried "read"
    try
    mov [rbx + 1], cl
    tried "write"
    mov r12, rsp
    try
    call rbx
    tried_silently
    mov rsp, r12
    print "fetch"
    call print_outcome
.endm

main:
    mov byte ptr [rip + page_a], 0xc3
    map_page PLAY, page_a, P | W | U
    mov ebx, PLAY
    println "neither"
    accesses
    println "SMEP"
    set_cr4 CR4_SMEP
    accesses
    println "SMEP and SMAP"
    set_cr4 CR4_SMAP
    accesses
    println "and AC = 1"
    stac
    accesses
    println "and AC = 0"
    clac
    accesses
    run_user user
    println "CR0.WP = 0 lifts neither"
    clear_cr0 CR0_WP
    accesses
    set_cr0 CR0_WP
    println "a write to a read-only user page with AC = 1"
    map_page PLAY, page_a, P | U
    stac
    try
    mov [rbx + 1], cl
    tried "write"
    clac
    ret

user:
    accesses
    try
    stac
    tried "STAC"
    try
    clac
    tried "CLAC"
    leave_user
