# Which second exception during the delivery of a first one makes a double fault: a contributory one or a
# page fault after a contributory one or a page fault, but not a page fault after a contributory one. The
# saved RIP is that of the first; the error code is 0.
# Intel SDM Vol. 3, "Interrupt 8-Double Fault Exception (#DF)", "Error Code".
#
# QEMU 7.2 agrees but for the error codes of #NP: it has the vector times 16 in them, and no EXT for the
# exception that came first.
#
# engines: interpreter, timing
# expect:
#   #DE, then #NP: #DF(0x0)
#     RIP of the first: yes
#   #UD (benign), then #NP: #NP(0x33)
#   #GP, then #NP: #DF(0x0)
#     RIP of the first: yes
#   #PF, then #NP: #DF(0x0)
#     RIP of the first: yes
#   #PF, then #PF: #DF(0x0)
#     RIP of the first: yes
#   #GP, then #PF (served after one another): #PF(0x2)
#   CR2 is the stack: yes
#   #DE, then #NP, then #NP for that one: #DF(0x0)
#     RIP of the first: yes
#   INT 0x41, then #NP: #NP(0x20a)
#   [exit 0]

.include "runtime.inc"

# Makes delivering VECTOR fail with: a gate that isn't present (#NP), a handler stack that isn't mapped
# (#PF), a handler address that isn't canonical (#GP).
.macro gate_not_present vector
    and byte ptr [rip + idt + 16 * (\vector) + 5], 0x7f
.endm
.macro gate_present vector
    or byte ptr [rip + idt + 16 * (\vector) + 5], 0x80
.endm

.macro case what, instruction:vararg
    try
9:  \instruction
    tried "\what"
    lea rax, [rip + 9b]
    call see
.endm

main:
    # IST 2 of the TSS leads nowhere.
    mov eax, PLAY + 0x1000
    mov [rip + task_states + 0x24 + 8], rax
    xor ecx, ecx
    movabs rbx, 0x8000000000000000
    mov ebp, PLAY

    gate_not_present 0
    case "#DE, then #NP", div ecx
    gate_not_present 6
    case "#UD (benign), then #NP", ud2
    gate_present 6
    gate_not_present 13
    case "#GP, then #NP", mov al, [rbx]
    gate_present 13
    gate_not_present 14
    case "#PF, then #NP", mov al, [rbp]
    gate_present 14
    use_ist 14, 2
    case "#PF, then #PF", mov al, [rbp]
    use_ist 14, 0
    use_ist 13, 2
    case "#GP, then #PF (served after one another)", mov al, [rbx]
    mov eax, PLAY + 0xff8
    check "CR2 is the stack", [rip + fault_cr2], rax
    use_ist 13, 0
    # Then the #NP has trouble too: a #DF at its first attempt.
    gate_not_present 11
    case "#DE, then #NP, then #NP for that one", div ecx
    gate_present 11
    gate_present 0
    # A software interrupt and an external interrupt are benign.
    gate_not_present 0x41
    case "INT 0x41, then #NP", int 0x41
    ret

see:
    cmp dword ptr [rip + fault_vector], 8
    je 1f
    ret
1:  check "  RIP of the first", [rip + fault_rip], rax
    ret
