// Named threads in C++: templates, classes, a lambda, and inlined functions.
//
// threads [COUNT=4] [SECONDS=5]
//
// Thread `worker-I` burns in one of four functions, by I modulo 4. Expected stacks, root first:
//   0  … start_thread; worker; mill::Grinder<mill::Coarse>::grind(unsigned long)
//   1  … start_thread; worker; mill::Grinder<mill::Fine>::grind(unsigned long)
//   2  … start_thread; worker; mill::press(unsigned long, int)
//   3  … start_thread; worker; mill::(anonymous namespace)::sift(std::pair<unsigned long, int> const&)
// In each the inlined mill::Wheel::turn(unsigned long), and within it mill::tooth(unsigned long), lie on top.
// main waits in pthread_join and burns nothing.
#include "run_for.h"

#include <cstdio>
#include <pthread.h>
#include <utility>
#include <vector>

#define INLINED inline __attribute__((always_inline))

namespace mill {

INLINED unsigned long tooth(unsigned long value)
{
    value = value * 6364136223846793005ul + 1442695040888963407ul;
    __asm__ volatile("" : "+r"(value));
    return value;
}

class Wheel {
public:
    INLINED unsigned long turn(unsigned long value)
    {
        value = through_stack(value);
        for (unsigned long count = UNIT; count != 0; count--)
            value = tooth(value);
        return value;
    }
};

struct Coarse {
    static constexpr unsigned long step = 3;
};

struct Fine {
    static constexpr unsigned long step = 1;
};

template <typename Grain> class Grinder {
public:
    KEPT unsigned long grind(unsigned long value)
    {
        while (!stop)
            value = wheel.turn(value) + Grain::step;
        return value;
    }

private:
    Wheel wheel;
};

KEPT unsigned long press(unsigned long value, int weight)
{
    Wheel wheel;
    while (!stop)
        value = wheel.turn(value) + static_cast<unsigned long>(weight);
    return value;
}

namespace {

KEPT unsigned long sift(const std::pair<unsigned long, int> &grain)
{
    Wheel wheel;
    unsigned long value = grain.first;
    while (!stop)
        value = wheel.turn(value) + static_cast<unsigned long>(grain.second);
    return value;
}

} // namespace
} // namespace mill

extern "C" KEPT void *worker(void *argument)
{
    auto index = reinterpret_cast<unsigned long>(argument);
    char name[16];
    snprintf(name, sizeof name, "worker-%lu", index);
    pthread_setname_np(pthread_self(), name);

    volatile unsigned long result;
    switch (index % 4) {
    case 0:
        result = mill::Grinder<mill::Coarse>().grind(index);
        break;
    case 1:
        result = mill::Grinder<mill::Fine>().grind(index);
        break;
    case 2:
        result = mill::press(index, 5);
        break;
    default:
        result = mill::sift({index, 7});
    }
    (void)result;
    return nullptr;
}

int main(int argc, char **argv)
{
    double count = number_argument(argc, argv, 1, 4);
    if (count < 1 || count > 1000)
        return 2;
    run_for(number_argument(argc, argv, 2, 5));
    std::vector<pthread_t> threads(static_cast<unsigned long>(count));
    for (unsigned long index = 0; index < threads.size(); index++)
        if (pthread_create(&threads[index], nullptr, worker, reinterpret_cast<void *>(index)) != 0)
            return 1;
    for (pthread_t thread : threads)
        pthread_join(thread, nullptr);
    return 0;
}
