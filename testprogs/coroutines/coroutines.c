/* Stacks that a program makes by hand, as libraries for coroutines do, each below a function that never returns.
 *
 * coroutines [SECONDS=5]
 *
 * Expected stacks, root first:
 *   _start … main; burn_between
 *   the C library's code at the end of a context; on_context; burn_on_context
 *   on_zero; burn_on_zero (its return address is zero, as of Ruby's fibers)
 *   begin_and_stop; on_stop; burn_on_stop (as of boost's contexts)
 */
#include "run_for.h"

#include <stdint.h>
#include <ucontext.h>

#ifndef __x86_64__
#error "the functions below are written for x86-64"
#endif

#define STACK_BYTES 65536

/* Keeps this stack's place in `left`, and goes on where `to` was left. */
void switch_stacks(void **left, void *to);
/* Enters the function in rbx, and has the code at rbp below it. */
void begin_and_stop(void);
/* What lies below the first frame: nobody has called it, and it does not return. */
void stop_here(void);

__asm__(".text\n"
        ".globl switch_stacks\n"
        ".type switch_stacks, @function\n"
        "switch_stacks:\n"
        "push %rbp\n"
        "push %rbx\n"
        "push %r12\n"
        "push %r13\n"
        "push %r14\n"
        "push %r15\n"
        "mov %rsp, (%rdi)\n"
        "mov %rsi, %rsp\n"
        "pop %r15\n"
        "pop %r14\n"
        "pop %r13\n"
        "pop %r12\n"
        "pop %rbx\n"
        "pop %rbp\n"
        "ret\n"
        ".size switch_stacks, . - switch_stacks\n"
        ".globl begin_and_stop\n"
        ".type begin_and_stop, @function\n"
        "begin_and_stop:\n"
        "push %rbp\n"
        "jmp *%rbx\n"
        ".globl stop_here\n"
        "stop_here:\n"
        "xor %edi, %edi\n"
        "call _exit@PLT\n"
        "hlt\n"
        ".size begin_and_stop, . - begin_and_stop\n");

static void *of_main, *of_zero, *of_stop;
static ucontext_t main_context, context;

KEPT unsigned long burn_between(void)
{
    return churn(1, UNIT);
}

KEPT unsigned long burn_on_context(void)
{
    return churn(2, UNIT);
}

KEPT unsigned long burn_on_zero(void)
{
    return churn(3, UNIT);
}

KEPT unsigned long burn_on_stop(void)
{
    return churn(4, UNIT);
}

KEPT void on_context(void)
{
    for (;;) {
        burn_on_context();
        swapcontext(&context, &main_context);
    }
}

KEPT void on_zero(void)
{
    for (;;) {
        burn_on_zero();
        switch_stacks(&of_zero, of_main);
    }
}

KEPT void on_stop(void)
{
    for (;;) {
        burn_on_stop();
        switch_stacks(&of_stop, of_main);
    }
}

/* Room at the top of a new stack for what `switch_stacks` takes off it, and for one more return address: eight words, all zero. */
static uintptr_t *new_stack(void)
{
    return (uintptr_t *)((char *)calloc(1, STACK_BYTES) + STACK_BYTES) - 8;
}

int main(int argc, char **argv)
{
    uintptr_t *zero = new_stack(), *below = new_stack() - 1;
    /* Taken off in this order: r15, r14, r13, r12, rbx, rbp, the function. Its return address is zero, as all of it was. */
    zero[6] = (uintptr_t)on_zero;
    of_zero = zero;
    below[4] = (uintptr_t)on_stop;
    below[5] = (uintptr_t)stop_here;
    below[6] = (uintptr_t)begin_and_stop;
    of_stop = below;
    getcontext(&context);
    context.uc_stack.ss_sp = calloc(1, STACK_BYTES);
    context.uc_stack.ss_size = STACK_BYTES;
    context.uc_link = &main_context;
    makecontext(&context, on_context, 0);
    run_for(number_argument(argc, argv, 1, 5));
    while (!stop) {
        burn_between();
        swapcontext(&main_context, &context);
        switch_stacks(&of_main, of_zero);
        switch_stacks(&of_main, of_stop);
    }
    return 0;
}
