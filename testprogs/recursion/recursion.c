/* A stack of known depth.
 *
 * recursion [DEPTH=60] [SECONDS=5]
 *
 * Expected stack, root first: _start … main; descend (DEPTH times); burn_at_bottom.
 */
#include "run_for.h"

KEPT unsigned long burn_at_bottom(unsigned long value)
{
    while (!stop)
        value = churn(value, UNIT);
    return value;
}

KEPT unsigned long descend(unsigned long depth)
{
    unsigned long value = depth > 1 ? descend(depth - 1) : burn_at_bottom(depth);
    /* Work after the call, so that the call is no tail call and the recursion no loop. */
    __asm__ volatile("" : "+r"(value));
    return value + depth;
}

int main(int argc, char **argv)
{
    double depth = number_argument(argc, argv, 1, 60);
    if (depth < 1 || depth > 50000)
        return 2;
    run_for(number_argument(argc, argv, 2, 5));
    volatile unsigned long result = descend((unsigned long)depth);
    (void)result;
    return 0;
}
