/* A function mix of known shares.
 *
 * shares [SECONDS=5]
 *
 * Expected stacks, root first, with their shares of the CPU time:
 *   _start … main; work; burn_seventy   70 %
 *   _start … main; work; burn_twenty    20 %
 *   _start … main; work; burn_ten       10 %
 * The shares hold by count of work units, taken in turn every 100 us or so.
 */
#include "run_for.h"

KEPT unsigned long burn_seventy(unsigned long value)
{
    return churn(value, 7 * UNIT);
}

KEPT unsigned long burn_twenty(unsigned long value)
{
    return churn(value, 2 * UNIT);
}

KEPT unsigned long burn_ten(unsigned long value)
{
    return churn(value, 1 * UNIT);
}

KEPT unsigned long work(unsigned long value)
{
    while (!stop) {
        value = burn_seventy(value);
        value = burn_twenty(value);
        value = burn_ten(value);
    }
    return value;
}

int main(int argc, char **argv)
{
    run_for(number_argument(argc, argv, 1, 5));
    volatile unsigned long result = work((unsigned long)argc);
    (void)result;
    return 0;
}
