/* Hand-written functions whose call frame information is of the kinds that compilers do not emit.
 *
 * assembler [SECONDS=5]
 *
 * One thread for each function of functions.S. Expected stack of each, root first:
 *   clone3; start_thread; worker; the function, and what its comment names on top of it
 */
#include "run_for.h"

#include <pthread.h>
#include <ucontext.h>

#ifndef __x86_64__
#error "the functions are written for x86-64"
#endif

typedef void function(volatile sig_atomic_t *until);

function cfa_in_rax, cfa_in_r10, cfa_in_r13, cfa_in_r13_calls, cfa_behind_rsp, cfa_behind_rsp_calls;
function rbp_by_expression, return_address_in_rdx, cfa_in_r11_traps;

static function *const functions[] = {
    cfa_in_rax,           cfa_in_r10,        cfa_in_r13,            cfa_in_r13_calls, cfa_behind_rsp,
    cfa_behind_rsp_calls, rbp_by_expression, return_address_in_rdx, cfa_in_r11_traps,
};
#define COUNT (sizeof functions / sizeof functions[0])

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

KEPT void *worker(void *argument)
{
    functions[(unsigned long)argument](&stop);
    return (void *)through_stack(0);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    pthread_t threads[COUNT];
    if (sigaction(SIGILL, &action, NULL) != 0)
        return 1;
    run_for(number_argument(argc, argv, 1, 5));
    for (unsigned long index = 0; index < COUNT; index++)
        if (pthread_create(&threads[index], NULL, worker, (void *)index) != 0)
            return 1;
    for (unsigned long index = 0; index < COUNT; index++)
        pthread_join(threads[index], NULL);
    return 0;
}
