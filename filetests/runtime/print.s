# Printing to the serial port. All functions keep every register and flag, and work at CPL 0 and 3
# (the TSS lets user code reach the port).

.include "runtime.inc"
.text

# AL.
.globl print_character
print_character:
    pushfq
    push rdx
    push rax
    mov edx, 0x3fd
1:  in al, dx
    test al, 0x20
    jz 1b
    mov al, [rsp]
    mov edx, 0x3f8
    out dx, al
    pop rax
    pop rdx
    popfq
    ret

# The zero-terminated string at RDI.
.globl print_string
print_string:
    pushfq
    push rax
    push rdi
1:  mov al, [rdi]
    test al, al
    jz 2f
    call print_character
    inc rdi
    jmp 1b
2:  pop rdi
    pop rax
    popfq
    ret

.globl print_line_end
print_line_end:
    push rax
    mov al, 10
    call print_character
    pop rax
    ret

# RDI as 0x....
.globl print_number_hex
print_number_hex:
    pushfq
    push rax
    push rcx
    print "0x"
    mov ecx, 64
    # Skip leading zeros, but not the last digit.
1:  sub ecx, 4
    jz 2f
    mov rax, rdi
    shr rax, cl
    test al, 15
    jz 1b
2:  mov rax, rdi
    shr rax, cl
    and eax, 15
    add al, '0'
    cmp al, '9'
    jbe 3f
    add al, 'a' - '0' - 10
3:  call print_character
    sub ecx, 4
    jns 2b
    pop rcx
    pop rax
    popfq
    ret

# RDI in decimal.
.globl print_number_dec
print_number_dec:
    pushfq
    push rax
    push rcx
    push rdx
    push rdi
    mov rax, rdi
    mov edi, 10
    xor ecx, ecx
1:  xor edx, edx
    div rdi
    push rdx
    inc ecx
    test rax, rax
    jnz 1b
2:  pop rax
    add al, '0'
    call print_character
    dec ecx
    jnz 2b
    pop rdi
    pop rdx
    pop rcx
    pop rax
    popfq
    ret

# `yes` if RDI = RSI, else both.
.globl print_comparison
print_comparison:
    pushfq
    cmp rdi, rsi
    jne 1f
    println "yes"
    popfq
    ret
1:  print "NO, "
    print_hex rdi
    print " instead of "
    print_hex rsi
    println
    popfq
    ret
