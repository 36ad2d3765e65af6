// Heavy templates: expression trees of types, lambdas within lambdas, and the standard library's algorithms, inlined.
//
// templates [SECONDS=5]
//
// Two functions that are not inlined burn by turns. Expected stacks, root first, each below _start … main:
//   forest::evaluate<forest::Sum<forest::Product<…>, …>>(unsigned long), and within it, inlined, the calls of `at` of the
//   whole tree of types down to forest::Leaf<N>::at(unsigned long)
//   forest::fold<unsigned long, …>(std::vector<unsigned long, std::allocator<unsigned long> > const&, …), and within it,
//   inlined, std::accumulate, and the lambda that it calls
#include "run_for.h"

#include <numeric>
#include <vector>

#define INLINED inline __attribute__((always_inline))

namespace forest {

template <unsigned long Number> struct Leaf {
    static INLINED unsigned long at(unsigned long value)
    {
        value = value * 6364136223846793005ul + Number;
        __asm__ volatile("" : "+r"(value));
        return value;
    }
};

template <typename Left, typename Right> struct Sum {
    static INLINED unsigned long at(unsigned long value) { return Left::at(value) + Right::at(value); }
};

template <typename Left, typename Right> struct Product {
    static INLINED unsigned long at(unsigned long value) { return Left::at(value) * Right::at(value); }
};

// A tree of 2 ^ Depth leaves.
template <unsigned Depth, unsigned long Number> struct Tree {
    using Half = typename Tree<Depth - 1, Number * 2>::Type;
    using Other = typename Tree<Depth - 1, Number * 2 + 1>::Type;
    using Type = Sum<Product<Half, Other>, Half>;
};

template <unsigned long Number> struct Tree<0, Number> {
    using Type = Leaf<Number>;
};

template <typename Expression> KEPT unsigned long evaluate(unsigned long value)
{
    for (unsigned long count = UNIT / 8; count != 0; count--)
        value = Expression::at(value);
    return through_stack(value);
}

template <typename Number, typename Step> KEPT Number fold(const std::vector<Number> &numbers, Step step)
{
    Number value = 1;
    for (int round = 0; round < 100; round++)
        value = std::accumulate(numbers.begin(), numbers.end(), value, [&step](Number sum, Number number) {
            auto twice = [&step](Number once) { return step(step(once)); };
            return twice(sum) + number;
        });
    return through_stack(value);
}

} // namespace forest

int main(int argc, char **argv)
{
    std::vector<unsigned long> numbers(512);
    std::iota(numbers.begin(), numbers.end(), 1ul);
    run_for(number_argument(argc, argv, 1, 5));
    volatile unsigned long result = 1;
    while (!stop) {
        result = forest::evaluate<forest::Tree<4, 1>::Type>(result);
        result = forest::fold(numbers, [](unsigned long value) {
            value = value * 6364136223846793005ul + 3;
            __asm__ volatile("" : "+r"(value));
            return value;
        });
    }
    return 0;
}
