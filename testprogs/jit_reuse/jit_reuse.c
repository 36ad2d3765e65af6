/* Code made at run time, again and again at the same address.
 *
 * jit_reuse [SECONDS=5]
 *
 * Every 150 ms writes a function into the same page, names it in /tmp/perf-PID.map (left behind, as the runtimes do that
 * write such maps), and calls it: by turns `red` from run_red and `blue` from run_blue. Every tenth line of the map is
 * none. Expected stacks, root first:
 *   _start … main; run_red; red (in the map)
 *   _start … main; run_blue; blue (in the map)
 */
#include "run_for.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifndef __x86_64__
#error "the code emitted below is written for x86-64"
#endif

typedef unsigned long emitted_function(unsigned long count);

/* Both are the same code: only the map tells them apart. */
static const unsigned char loop[] = {
    0x55,                   /*       push %rbp        */
    0x48, 0x89, 0xe5,       /*       mov %rsp,%rbp    */
    0x48, 0x89, 0xf8,       /*       mov %rdi,%rax    */
    0x48, 0x0f, 0xaf, 0xc0, /* again: imul %rax,%rax  */
    0x48, 0xff, 0xcf,       /*       dec %rdi         */
    0x75, 0xf7,             /*       jne again        */
    0x5d,                   /*       pop %rbp         */
    0xc3,                   /*       ret              */
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

KEPT unsigned long run_red(emitted_function *function)
{
    unsigned long sum = 0;
    for (double end = now() + 0.15; now() < end && !stop;)
        sum += function(UNIT);
    return sum;
}

KEPT unsigned long run_blue(emitted_function *function)
{
    unsigned long sum = 0;
    for (double end = now() + 0.15; now() < end && !stop;)
        sum += function(UNIT);
    return sum;
}

int main(int argc, char **argv)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *code = mmap(NULL, page, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char path[64];
    snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)getpid());
    FILE *map = fopen(path, "w");
    if (code == MAP_FAILED || map == NULL)
        return 1;
    setvbuf(map, NULL, _IOLBF, 0);
    run_for(number_argument(argc, argv, 1, 5));
    volatile unsigned long result = 0;
    for (int turn = 0; !stop; turn++) {
        int is_red = turn % 2 == 0;
        memcpy(code, loop, sizeof loop);
        fprintf(map, "%lx %zx %s\n", (unsigned long)code, sizeof loop, is_red ? "red" : "blue");
        if (turn % 10 == 0)
            fprintf(map, "no line of a map\n");
        result += (is_red ? run_red : run_blue)((emitted_function *)(unsigned long)code);
    }
    return fclose(map);
}
