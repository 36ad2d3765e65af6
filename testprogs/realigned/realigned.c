/* Stacks that are aligned anew, and that grow within a function.
 *
 * realigned [SECONDS=5]
 *
 * Expected stack, root first: _start … main; forced (aligned to 16 by attribute); grown (by alloca);
 *   aligned (to 64, for a local); aligned_and_grown (both); burn_aligned
 */
#include "run_for.h"

#include <alloca.h>
#include <string.h>

KEPT unsigned long burn_aligned(unsigned long value)
{
    while (!stop)
        value = churn(value, UNIT);
    return value;
}

KEPT unsigned long aligned_and_grown(unsigned long size, unsigned long value)
{
    _Alignas(64) volatile char line[64] = {0};
    volatile char *more = alloca(size);
    more[0] = line[value % 64];
    return burn_aligned(value) + (unsigned long)more[0] + (unsigned long)line[1];
}

KEPT unsigned long aligned(unsigned long size, unsigned long value)
{
    _Alignas(64) volatile char line[64] = {0};
    line[size % 64] = 1;
    return aligned_and_grown(size, value) + (unsigned long)line[0];
}

KEPT unsigned long grown(unsigned long size, unsigned long value)
{
    volatile char *more = alloca(size);
    more[0] = (char)size;
    return aligned(size + 1, value) + (unsigned long)more[0];
}

KEPT __attribute__((force_align_arg_pointer)) unsigned long forced(unsigned long size, unsigned long value)
{
    return grown(size, value) + through_stack(size);
}

int main(int argc, char **argv)
{
    run_for(number_argument(argc, argv, 1, 5));
    volatile unsigned long result = forced((unsigned long)argc * 1000, 1);
    (void)result;
    return 0;
}
