/* Very many mappings of code.
 *
 * mapped [MAPPINGS=1000] [SECONDS=5]
 *
 * Maps the same page of its own executable as code, side by side: the kernel joins only what follows each other in the file.
 * Then burns in `burn`, and each millisecond or so maps and unmaps another one, and says at the end, as JSON, how many such
 * calls there were, how long they took together, and the longest. Expected stacks, root first:
 *   _start … main; burn
 *   _start … main; replace … (in the kernel, mostly)
 */
#include "run_for.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

KEPT unsigned long burn(unsigned long sum)
{
    return churn(sum, 100 * UNIT);
}

/* Puts another mapping in the place of the one at `at`; false if the kernel refuses. */
KEPT int replace(char *at, size_t page, int file)
{
    return munmap(at, page) == 0
        && mmap(at, page, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, file, 0) == at;
}

int main(int argc, char **argv)
{
    long count = (long)number_argument(argc, argv, 1, 1000);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    char *all = mmap(NULL, (size_t)count * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (file < 0 || all == MAP_FAILED || count < 1)
        return 1;
    for (long i = 0; i < count; i++)
        if (mmap(all + (size_t)i * page, page, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, file, 0) == MAP_FAILED)
            return 1;
    run_for(number_argument(argc, argv, 2, 5));
    unsigned long sum = 1, calls = 0;
    double together = 0, longest = 0;
    for (long turn = 0; !stop; turn++) {
        sum = burn(sum);
        double start = now();
        if (!replace(all + (size_t)(turn * 7919 % count) * page, page, file))
            return 1;
        double took = now() - start;
        together += took;
        longest = took > longest ? took : longest;
        calls++;
    }
    printf("{\"calls\": %lu, \"seconds\": %f, \"longest_us\": %f}\n", calls, together, longest * 1e6);
    return sum == 0;
}
