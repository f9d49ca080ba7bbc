# The UITT and the UPID are accessed with supervisor privilege at any CPL: pages with U/S = 0 are fine
# from CPL 3. With CR4.SMAP = 1 a UITT or UPID on a user page is #PF with U = 0. RFLAGS.AC does not
# help, since the accesses are implicit (see docs/decisions/uintr-doubts.md).
# Statement 13. Intel SDM Vol. 2, "SENDUIPI"; Vol. 3, "Access Rights".
#
# engines: interpreter, timing
# expect:
#   UITT and UPID on supervisor pages
#   SENDUIPI: done
#   upid: ON 0 SN 1 NV 0xec PIR 0x8
#   UPID on a user page, SMAP = 0
#   SENDUIPI: done
#   UPID on a user page, SMAP = 1
#   SENDUIPI: #PF(0x3)
#   and AC = 1
#   SENDUIPI: #PF(0x3)
#   CR2 is the UPID: yes
#   upid: ON 0 SN 1 NV 0xec PIR 0x8
#   UITT on a user page, SMAP = 1
#   SENDUIPI: #PF(0x1)
#   CR2 is the entry: yes
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    or byte ptr [rip + upid], UPID_SN
    println "UITT and UPID on supervisor pages"
    run_user user
    show_upid upid

    # The same UPID through its user view.
    user_address rax, upid
    mov [rip + uitt + 16 * 3 + 8], rax
    println "UPID on a user page, SMAP = 0"
    run_user user
    set_cr4 CR4_SMAP
    println "UPID on a user page, SMAP = 1"
    run_user user
    println "and AC = 1"
    run_user user, 0x202 | RFLAGS_AC
    check_address "CR2 is the UPID", [rip + fault_cr2], upid + USER
    show_upid upid

    lea rax, [rip + upid]
    mov [rip + uitt + 16 * 3 + 8], rax
    user_address rax, uitt
    or rax, 1
    write_msr UINTR_TT, rax
    println "UITT on a user page, SMAP = 1"
    run_user user
    check_address "CR2 is the entry", [rip + fault_cr2], uitt + 48 + USER
    ret

user:
    mov eax, 3
    try
    senduipi rax
    tried "SENDUIPI"
    leave_user
