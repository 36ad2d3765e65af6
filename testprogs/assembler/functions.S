/* Functions that wait for *%rdi to become other than zero, each on a stack that is described in its own way.
 * Numbers in .cfi_escape: DWARF 5, 7.7.1 (operations) and 7.24 (call frame instructions); registers: x86-64 psABI. */

#define DEF_CFA_EXPRESSION 0x0f
#define EXPRESSION 0x10
#define BREG_RSP 0x77
#define DEREF 0x06
#define PLUS_UCONST 0x23
#define RDX 1
#define RBP 6
#define RETURN_ADDRESS 16

.macro function name
    .text
    .globl \name
    .type \name, @function
\name:
    .cfi_startproc
.endm

.macro end name
    .cfi_endproc
    .size \name, . - \name
.endm

.macro wait
1:  cmpl $0, (%rdi)
    je 1b
.endm

/* The canonical frame address in a register that calls do not keep. */
function cfa_in_rax
    mov %rsp, %rax
    .cfi_def_cfa_register rax
    sub $72, %rsp
    wait
    mov %rax, %rsp
    .cfi_def_cfa_register rsp
    ret
end cfa_in_rax

function cfa_in_r10
    lea 8(%rsp), %r10
    .cfi_def_cfa r10, 0
    sub $1000, %rsp
    and $-64, %rsp
    wait
    lea -8(%r10), %rsp
    .cfi_def_cfa rsp, 8
    ret
end cfa_in_r10

/* In a register that calls do keep. */
.macro into_r13
    push %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r13, 0
    lea 16(%rsp), %r13
    .cfi_def_cfa r13, 0
    sub $1000, %rsp
    and $-64, %rsp
.endm

.macro out_of_r13
    lea -16(%r13), %rsp
    .cfi_def_cfa rsp, 16
    pop %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore r13
    ret
.endm

function cfa_in_r13
    into_r13
    wait
    out_of_r13
end cfa_in_r13

/* On top: wait_in_callee. Whoever walks this one has to know r13 of a frame that is not the innermost. */
function cfa_in_r13_calls
    into_r13
    call wait_in_callee
    out_of_r13
end cfa_in_r13_calls

function wait_in_callee
    wait
    ret
end wait_in_callee

/* The canonical frame address is 8 more than the word at rsp + 40, as OpenSSL's functions keep it. */
.macro behind_rsp
    mov %rsp, %rax
    .cfi_def_cfa_register rax
    sub $136, %rsp
    and $-64, %rsp
    mov %rax, 40(%rsp)
    .cfi_escape DEF_CFA_EXPRESSION, 5, BREG_RSP, 40, DEREF, PLUS_UCONST, 8
    xor %eax, %eax
.endm

.macro in_front_of_rsp
    mov 40(%rsp), %rsp
    .cfi_def_cfa rsp, 8
    ret
.endm

function cfa_behind_rsp
    behind_rsp
    wait
    in_front_of_rsp
end cfa_behind_rsp

/* On top: wait_in_callee. */
function cfa_behind_rsp_calls
    behind_rsp
    call wait_in_callee
    in_front_of_rsp
end cfa_behind_rsp_calls

/* On top: saves_rbp_by_expression, which puts rbp to another use; this one is walked by it. */
function rbp_by_expression
    push %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbp, 0
    mov %rsp, %rbp
    .cfi_def_cfa_register rbp
    and $-64, %rsp
    call saves_rbp_by_expression
    leave
    .cfi_def_cfa rsp, 8
    .cfi_restore rbp
    ret
end rbp_by_expression

function saves_rbp_by_expression
    sub $40, %rsp
    .cfi_adjust_cfa_offset 40
    mov %rbp, 16(%rsp)
    .cfi_escape EXPRESSION, RBP, 2, BREG_RSP, 16
    xor %ebp, %ebp
    wait
    mov 16(%rsp), %rbp
    .cfi_restore rbp
    add $40, %rsp
    .cfi_adjust_cfa_offset -40
    ret
end saves_rbp_by_expression

function return_address_in_rdx
    pop %rdx
    .cfi_adjust_cfa_offset -8
    .cfi_register RETURN_ADDRESS, RDX
    wait
    push %rdx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset RETURN_ADDRESS, 0
    ret
end return_address_in_rdx

/* Traps; on top: the C library's signal trampoline, on_trap, burn_in_handler. */
function cfa_in_r11_traps
    mov %rsp, %r11
    .cfi_def_cfa_register r11
    sub $72, %rsp
    ud2
    mov %r11, %rsp
    .cfi_def_cfa_register rsp
    ret
end cfa_in_r11_traps

.section .note.GNU-stack, "", @progbits
