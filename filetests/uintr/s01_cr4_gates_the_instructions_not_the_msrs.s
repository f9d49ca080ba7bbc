# CR4.UINTR = 0: RDMSR and WRMSR of the six MSRs work; the five instructions are #UD, at CPL 0 and 3.
# Statement 1. Intel SDM Vol. 3, "Enumeration and Enabling of User Interrupts".
#
# engines: interpreter, timing
# expect:
#   CR4.UINTR: 0x0
#   WRMSR UINTR_RR: done
#   RDMSR UINTR_RR: done
#   it reads as written: yes
#   WRMSR UINTR_HANDLER: done
#   RDMSR UINTR_HANDLER: done
#   it reads as written: yes
#   WRMSR UINTR_STACKADJUST: done
#   RDMSR UINTR_STACKADJUST: done
#   it reads as written: yes
#   WRMSR UINTR_MISC: done
#   RDMSR UINTR_MISC: done
#   it reads as written: yes
#   WRMSR UINTR_PD: done
#   RDMSR UINTR_PD: done
#   it reads as written: yes
#   WRMSR UINTR_TT: done
#   RDMSR UINTR_TT: done
#   it reads as written: yes
#   CLUI: #UD
#   STUI: #UD
#   TESTUI: #UD
#   SENDUIPI: #UD
#   UIRET: #UD
#   CPL 3
#   CLUI: #UD
#   STUI: #UD
#   TESTUI: #UD
#   SENDUIPI: #UD
#   UIRET: #UD
#   [exit 0]

.include "runtime.inc"

.macro works index, value
    try
    write_msr \index, \value
    tried "WRMSR \index"
    try
    read_msr \index
    tried "RDMSR \index"
    check "it reads as written", rax, \value
.endm

.macro five_instructions
    try
    clui
    tried "CLUI"
    try
    stui
    tried "STUI"
    try
    testui
    tried "TESTUI"
    try
    senduipi rax
    tried "SENDUIPI"
    try
    uiret
    tried "UIRET"
.endm

main:
    mov rax, cr4
    and eax, CR4_UINTR
    show "CR4.UINTR", rax
    works UINTR_RR, 8
    works UINTR_HANDLER, 0x1000
    works UINTR_STACKADJUST, 0x81
    works UINTR_MISC, 0xec00000003
    works UINTR_PD, 0x2040
    works UINTR_TT, 0x3001
    five_instructions
    run_user user
    ret

user:
    println "CPL 3"
    five_instructions
    leave_user
