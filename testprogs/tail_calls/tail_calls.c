/* Calls in the place of a return: the caller's frame is gone when the callee runs. Built with sibling calls.
 *
 * tail_calls [SECONDS=5]
 *
 * Expected stack, root first: _start … main; calls; third. Neither first nor second, which only jumped on.
 */
#include "run_for.h"

KEPT unsigned long third(unsigned long value)
{
    while (!stop)
        value = churn(value, UNIT);
    return value;
}

KEPT unsigned long second(unsigned long value)
{
    return third(value + 2);
}

KEPT unsigned long first(unsigned long value)
{
    return second(value + 1);
}

KEPT unsigned long calls(unsigned long value)
{
    value = first(value);
    return through_stack(value);
}

int main(int argc, char **argv)
{
    run_for(number_argument(argc, argv, 1, 5));
    volatile unsigned long result = calls(1);
    (void)result;
    return 0;
}
