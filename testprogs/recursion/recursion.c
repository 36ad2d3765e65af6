/* A stack of known depth.
 *
 * recursion [DEPTH=60] [SECONDS=5] [LARGE=0]
 *
 * Expected stack, root first: _start … main; descend (DEPTH times); and LARGE times, at most 9: in_large_frame, descend
 * (DEPTH times); burn_at_bottom.
 */
#include "run_for.h"

/* Far more than what is copied of a stack. */
#define LARGE_FRAME 600000

static unsigned long depth_of_all;

KEPT unsigned long in_large_frame(unsigned long large);

KEPT unsigned long burn_at_bottom(unsigned long value)
{
    while (!stop)
        value = churn(value, UNIT);
    return value;
}

KEPT unsigned long descend(unsigned long depth, unsigned long large)
{
    unsigned long value = depth > 1   ? descend(depth - 1, large)
                          : large > 0 ? in_large_frame(large - 1)
                                      : burn_at_bottom(depth);
    /* Work after the call, so that the call is no tail call and the recursion no loop. */
    __asm__ volatile("" : "+r"(value));
    return value + depth;
}

KEPT unsigned long in_large_frame(unsigned long large)
{
    volatile char frame[LARGE_FRAME];
    frame[0] = frame[LARGE_FRAME - 1] = 1;
    return descend(depth_of_all, large) + (unsigned long)frame[0];
}

int main(int argc, char **argv)
{
    double depth = number_argument(argc, argv, 1, 60);
    double large = number_argument(argc, argv, 3, 0);
    if (depth < 1 || depth > 50000 || large < 0 || large > 9)
        return 2;
    run_for(number_argument(argc, argv, 2, 5));
    depth_of_all = (unsigned long)depth;
    volatile unsigned long result = descend(depth_of_all, (unsigned long)large);
    (void)result;
    return 0;
}
