# UIRET to an address that is not canonical is #GP(0), with RSP, RFLAGS and UIF unchanged; a frame that
# is not mapped is #PF; one at an address that is not canonical is #SS(0).
# Statement 49. Intel SDM Vol. 2, "UIRET".
#
# engines: interpreter, timing
# expect:
#   RIP is not canonical
#   user code ended with #GP(0x0)
#   RIP: yes
#   RSP: yes
#   RFLAGS but for RF: 0x202
#   UIF: 0x0
#   the frame reaches into a page that is not mapped
#   user code ended with #PF(0x4)
#   RIP: yes
#   RSP: yes
#   RFLAGS but for RF: 0x202
#   UIF: 0x0
#   CR2: yes
#   RSP is not canonical
#   user code ended with #SS(0x0)
#   RIP: yes
#   RSP: yes
#   RFLAGS but for RF: 0x202
#   UIF: 0x0
#   [exit 0]

.include "runtime.inc"

.macro look
    check_address "RIP", [rip + fault_rip], here + USER
    check "RSP", [rip + fault_rsp], r12
    mov rax, [rip + fault_rflags]
    and eax, ~RFLAGS_RF
    show "RFLAGS but for RF", rax
    testui
    setc al
    movzx eax, al
    show "UIF", rax
.endm

main:
    use_xapic
    uintr_setup log_user_interrupt
    # The last two quadwords of a page, and nothing behind it.
    map_page PLAY, page_a, P | W | U
    lea rax, [rip + user]
    mov [rip + page_a + 0xff0], rax
    mov qword ptr [rip + page_a + 0xff8], 0x202
    # A frame with a bad RIP.
    movabs rax, 0x0000800000000000
    mov [rip + page_b], rax
    mov qword ptr [rip + page_b + 8], 0xad7
    lea rax, [rip + user_stack_top + USER]
    mov [rip + page_b + 16], rax

    println "RIP is not canonical"
    user_address r12, page_b
    run_user user
    look
    println "the frame reaches into a page that is not mapped"
    mov eax, PLAY + 0xff0
    mov r12, rax
    run_user user
    look
    mov eax, PLAY + 0x1000
    check "CR2", [rip + fault_cr2], rax
    println "RSP is not canonical"
    movabs r12, 0x8000000000000000
    run_user user
    look
    ret

user:
    mov rsp, r12
here:
    uiret
