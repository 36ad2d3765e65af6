/* A signal handler on top of a function that the signal interrupted at its very first instruction.
 *
 * signals [ALTERNATE=0] [SECONDS=5]
 *
 * With ALTERNATE=1 the handler runs on a stack of its own. Expected stack, root first:
 *   _start … main; provoke; trap_at_once; the C library's signal trampoline; on_trap; burn_in_handler
 * Right before trap_at_once, without padding, lies not_interrupted: whoever takes the interrupted instruction for a
 * return address names that one, and goes on by its wrong rule.
 */
#include "run_for.h"

#include <ucontext.h>

#ifndef __x86_64__
#error "the trap below is written for x86-64"
#endif

/* An instruction that is none, of two bytes. */
__asm__(".text\n"
        ".type not_interrupted, @function\n"
        "not_interrupted:\n"
        ".cfi_startproc\n"
        ".cfi_def_cfa_offset 4096\n"
        "nop\n"
        ".cfi_endproc\n"
        ".size not_interrupted, . - not_interrupted\n"
        ".globl trap_at_once\n"
        ".type trap_at_once, @function\n"
        "trap_at_once:\n"
        ".cfi_startproc\n"
        "ud2\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size trap_at_once, . - trap_at_once\n");

void trap_at_once(void);

KEPT unsigned long burn_in_handler(unsigned long value)
{
    while (!stop)
        value = churn(value, UNIT);
    return value;
}

KEPT void on_trap(int signal_number, siginfo_t *information, void *context)
{
    volatile unsigned long result = burn_in_handler((unsigned long)signal_number);
    (void)result;
    (void)information;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

KEPT unsigned long provoke(unsigned long value)
{
    trap_at_once();
    return through_stack(value);
}

int main(int argc, char **argv)
{
    static char stack[64 * 1024];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    if (number_argument(argc, argv, 1, 0) != 0) {
        action.sa_flags |= SA_ONSTACK;
        if (sigaltstack(&alternate, NULL) != 0)
            return 1;
    }
    if (sigaction(SIGILL, &action, NULL) != 0)
        return 1;
    run_for(number_argument(argc, argv, 2, 5));
    volatile unsigned long result = provoke(1);
    (void)result;
    return 0;
}
