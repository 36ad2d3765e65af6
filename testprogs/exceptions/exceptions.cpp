// Exceptions in flight: time goes into the unwinder of the C++ run-time library.
//
// exceptions [SECONDS=5]
//
// Expected stacks, root first: _start … main; catch_them; throw_deep (up to 8 times); cleanups and the unwinder's own
// functions. While handlers are run the frames below the catching one are gone: then catch_them is the innermost of ours.
#include "run_for.h"

struct Cleanup {
    volatile unsigned long *count;
    ~Cleanup() { *count = *count + 1; }
};

KEPT void throw_deep(int depth, volatile unsigned long *count)
{
    Cleanup cleanup{count};
    if (depth <= 1)
        throw depth;
    throw_deep(depth - 1, count);
}

KEPT unsigned long catch_them(unsigned long value)
{
    volatile unsigned long count = 0;
    while (!stop) {
        try {
            throw_deep(8, &count);
        } catch (int depth) {
            value += static_cast<unsigned long>(depth);
        }
    }
    return value + count;
}

int main(int argc, char **argv)
{
    run_for(number_argument(argc, argv, 1, 5));
    volatile unsigned long result = catch_them(1);
    (void)result;
    return 0;
}
