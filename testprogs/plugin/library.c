/* The library that plugin loads. */
#include "run_for.h"

KEPT unsigned long plugin_burn(unsigned long value, unsigned long units)
{
    for (; units != 0; units--)
        value = churn(value, UNIT);
    return value;
}

KEPT unsigned long plugin_entry(unsigned long value, unsigned long units)
{
    value = plugin_burn(value, units);
    return through_stack(value);
}
