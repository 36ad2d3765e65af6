/* The code that remapped maps, page by page: it needs nothing of what a dynamic linker would set up. */
#include "run_for.h"

__attribute__((aligned(4096))) KEPT unsigned long first_burn(unsigned long value, unsigned long units)
{
    for (; units != 0; units--)
        value = churn(value, UNIT);
    return value;
}

__attribute__((aligned(4096))) KEPT unsigned long second_burn(unsigned long value, unsigned long units)
{
    for (; units != 0; units--)
        value = churn(value + 1, UNIT);
    return value;
}

__attribute__((aligned(4096))) KEPT unsigned long no_burn(unsigned long value)
{
    return value;
}
