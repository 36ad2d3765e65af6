/* Two functions that take turns to call a third, from frames of the same size: at the same place of the stack, with the
 * same function on top, lies another caller. A walk that takes what was there before for what is there now finds the
 * wrong one.
 *
 * callers [SECONDS=5]
 *
 * Expected stacks, root first: _start … main; by_turns; one_caller; between; burn_for_one
 * and                          _start … main; by_turns; other_caller; between; burn_for_other. Half of the time each.
 */
#include "run_for.h"

/* Shorter than the time between two samples. */
#define UNITS 64

KEPT unsigned long burn_for_one(unsigned long value)
{
    for (int unit = 0; unit < UNITS && !stop; unit++)
        value = churn(value, UNIT);
    return value + 1;
}

KEPT unsigned long burn_for_other(unsigned long value)
{
    for (int unit = 0; unit < UNITS && !stop; unit++)
        value = churn(value, UNIT);
    return value + 2;
}

KEPT unsigned long between(unsigned long (*burn)(unsigned long), unsigned long value)
{
    return burn(value) + 3;
}

KEPT unsigned long one_caller(unsigned long value)
{
    return between(burn_for_one, value) + 4;
}

KEPT unsigned long other_caller(unsigned long value)
{
    return between(burn_for_other, value) + 5;
}

KEPT unsigned long by_turns(unsigned long value)
{
    while (!stop) {
        value = one_caller(value);
        value = other_caller(value);
    }
    return value;
}

int main(int argc, char **argv)
{
    run_for(number_argument(argc, argv, 1, 5));
    return by_turns(1) == 0;
}
