# Operands that are not canonical, or whose last byte is not: #GP(0), or #SS(0) where the stack segment is
# meant, before any page is looked at and before alignment is checked.
# Intel SDM Vol. 1, "Canonical Addressing"; Vol. 2, "CLFLUSH", "ENTER", "FLD".
#
# engines: interpreter
# expect:
#   8 bytes at 0x7ffffffffffc: #GP(0x0)
#   written: #GP(0x0)
#   read and written: #GP(0x0)
#   16 bytes, MOVUPS: #GP(0x0)
#   FLD of 8 bytes: #GP(0x0)
#   [RBP]: #SS(0x0)
#   CLFLUSH: #GP(0x0)
#   CLFLUSH [RBP]: #SS(0x0)
#   ENTER: #SS(0x0)
#   with RFLAGS.AC, 8 bytes at 0x7ffffffffffc: #GP(0x0)
#   FLD of 8 bytes: #GP(0x0)
#   [exit 0]

.include "runtime.inc"

main:
    movabs rbx, 0x7ffffffffffc
    movabs rbp, 0x7ffffffffffc
    try
    mov rax, [rbx]
    tried "8 bytes at 0x7ffffffffffc"
    try
    mov [rbx], rax
    tried "written"
    try
    add [rbx], rax
    tried "read and written"
    try
    movups xmm0, [rbx]
    tried "16 bytes, MOVUPS"
    try
    fld qword ptr [rbx]
    tried "FLD of 8 bytes"
    try
    mov rax, [rbp]
    tried "[RBP]"
    movabs rbx, 0x800000000000
    movabs rbp, 0x800000000000
    try
    clflush [rbx]
    tried "CLFLUSH"
    try
    clflush [rbp]
    tried "CLFLUSH [RBP]"
    set_cr0 CR0_AM
    run_user user
    ret

user:
    # At CPL 3, since a handler at CPL 0 would use this stack.
    mov rdx, rsp
    movabs rsp, 0x800000001000
    mov dword ptr [rip + fault_vector], -1
    lea rax, [rip + 1f]
    mov [rip + resume_at], rax
    enter 16, 0
1:
    mov rsp, rdx
    print "ENTER"
    call print_outcome
    movabs rbx, 0x7ffffffffffc
    pushfq
    or qword ptr [rsp], RFLAGS_AC
    popfq
    try
    mov rax, [rbx]
    tried "with RFLAGS.AC, 8 bytes at 0x7ffffffffffc"
    try
    fld qword ptr [rbx]
    tried "FLD of 8 bytes"
    leave_user
