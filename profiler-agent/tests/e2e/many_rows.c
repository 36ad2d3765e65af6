// A program with as many unwind rows as one likes: ENTRIES functions of 20 rows each, none of which is called, and one that
// burns CPU. `many_rows [SECONDS=1]`; the stack is burn, main, and what the C library starts programs with.
#include <stdlib.h>
#include <time.h>

#define TEXT(x) #x
#define NUMBER(x) TEXT(x)

__asm__(".text\n.rept " NUMBER(ENTRIES) "\n"
        ".cfi_startproc\n"
        ".rept 10\nnop\n.cfi_adjust_cfa_offset 8\nnop\n.cfi_adjust_cfa_offset -8\n.endr\n"
        "ret\n.cfi_endproc\n.endr\n");

__attribute__((noinline)) static int burn(double seconds) {
    struct timespec at;
    volatile int turns = 0;
    clock_gettime(CLOCK_MONOTONIC, &at);
    double end = at.tv_sec + at.tv_nsec / 1e9 + seconds;
    do {
        for (int i = 0; i < 1000000; i++)
            turns++;
        clock_gettime(CLOCK_MONOTONIC, &at);
    } while (at.tv_sec + at.tv_nsec / 1e9 < end);
    return turns == 0;
}

int main(int count, char **arguments) {
    return burn(count > 1 ? atof(arguments[1]) : 1);
}
