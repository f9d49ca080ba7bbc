# A UPID with one of the bits 15:2 or 31:24 set makes SENDUIPI fault with #GP(0), and PIR is unchanged.
# (Linux marks a blocked receiver with bit 7.)
# Statement 9. Intel SDM Vol. 2, "SENDUIPI"; Vol. 3, "User Posted-Interrupt Descriptor".
#
# engines: interpreter, timing
# expect:
#   bit 2: #GP(0x0), PIR 0x0
#   bit 3: #GP(0x0), PIR 0x0
#   bit 4: #GP(0x0), PIR 0x0
#   bit 5: #GP(0x0), PIR 0x0
#   bit 6: #GP(0x0), PIR 0x0
#   bit 7: #GP(0x0), PIR 0x0
#   bit 8: #GP(0x0), PIR 0x0
#   bit 9: #GP(0x0), PIR 0x0
#   bit 10: #GP(0x0), PIR 0x0
#   bit 11: #GP(0x0), PIR 0x0
#   bit 12: #GP(0x0), PIR 0x0
#   bit 13: #GP(0x0), PIR 0x0
#   bit 14: #GP(0x0), PIR 0x0
#   bit 15: #GP(0x0), PIR 0x0
#   bit 24: #GP(0x0), PIR 0x0
#   bit 25: #GP(0x0), PIR 0x0
#   bit 26: #GP(0x0), PIR 0x0
#   bit 27: #GP(0x0), PIR 0x0
#   bit 28: #GP(0x0), PIR 0x0
#   bit 29: #GP(0x0), PIR 0x0
#   bit 30: #GP(0x0), PIR 0x0
#   bit 31: #GP(0x0), PIR 0x0
#   [exit 0]

.include "runtime.inc"

main:
    use_xapic
    uintr_setup log_user_interrupt
    # Each of the low 32 bits on its own, with SN so that nothing is sent.
    xor r12d, r12d
1:  mov eax, UPID_SN
    bts eax, r12d
    mov [rip + upid], eax
    mov qword ptr [rip + upid + 8], 0
    run_user user
    mov edi, [rip + fault_vector]
    cmp edi, -1
    je 2f
    print "bit "
    print_dec r12
    print ": "
    mov esi, [rip + fault_error]
    call print_exception
    print ", PIR "
    print_hex [rip + upid + 8]
    println
2:  inc r12d
    cmp r12d, 32
    jne 1b
    ret

user:
    mov eax, 5
    try
    senduipi rax
    tried_silently
    leave_user
