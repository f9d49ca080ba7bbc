# The UPID is written with supervisor privilege, even when nothing in it changes: on a read-only
# supervisor page, with CR0.WP = 1, SENDUIPI at CPL 3 is #PF with W = 1 and U = 0, and CR2 is in the
# descriptor. With CR0.WP = 0 the write succeeds.
# Statement 12. Intel SDM Vol. 2, "SENDUIPI".
#
# engines: interpreter, timing
# expect:
#   SENDUIPI: #PF(0x3)
#   CR2 is in the descriptor: 1
#   CR0.WP = 0
#   SENDUIPI: done
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    # Vector 3 is posted already, and ON and SN are set.
    mov dword ptr [rip + page_a + 0x40], UPID_ON | UPID_SN
    mov qword ptr [rip + page_a + 0x48], 8
    map_page PLAY, page_a, P
    mov rax, PLAY + 0x40
    mov [rip + uitt + 16 * 3 + 8], rax
    run_user user
    mov rax, [rip + fault_cr2]
    mov ecx, PLAY + 0x40
    sub rax, rcx
    print "CR2 is in the descriptor: "
    cmp rax, 16
    sbb eax, eax
    neg eax
    print_dec rax
    println
    clear_cr0 CR0_WP
    println "CR0.WP = 0"
    run_user user
    ret

user:
    mov eax, 3
    try
    senduipi rax
    tried "SENDUIPI"
    leave_user
