/* Code made at run time, outside any file.
 *
 * jit [SECONDS=5] [MEMFD=0] [BEFORE=0]
 *
 * Emits two functions with frame pointers into anonymous memory, or into a file in memory as .NET does, names them in
 * /tmp/perf-PID.map (left behind, as the runtimes do that write such maps), and calls them; with BEFORE also for so many
 * seconds before it writes the map, as Java does that is told to write one later. Expected stack, root first:
 *   _start … main; run_emitted; emitted_outer (in the map); emitted_loop (in the map)
 */
#include "run_for.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef __x86_64__
#error "the code emitted below is written for x86-64"
#endif

typedef unsigned long emitted_function(unsigned long count);

static const unsigned char emitted_loop[] = {
    0x55,                   /*       push %rbp        */
    0x48, 0x89, 0xe5,       /*       mov %rsp,%rbp    */
    0x48, 0x89, 0xf8,       /*       mov %rdi,%rax    */
    0x48, 0x0f, 0xaf, 0xc0, /* again: imul %rax,%rax  */
    0x48, 0xff, 0xcf,       /*       dec %rdi         */
    0x75, 0xf7,             /*       jne again        */
    0x5d,                   /*       pop %rbp         */
    0xc3,                   /*       ret              */
};

/* Lies right before emitted_loop and calls it. */
static const unsigned char emitted_outer[] = {
    0x55,                               /* push %rbp          */
    0x48, 0x89, 0xe5,                   /* mov %rsp,%rbp      */
    0xe8, 0x02, 0x00, 0x00, 0x00,       /* call emitted_loop  */
    0x5d,                               /* pop %rbp           */
    0xc3,                               /* ret                */
};

static int write_map(unsigned long outer, unsigned long loop)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)getpid());
    FILE *map = fopen(path, "w");
    if (map == NULL)
        return -1;
    fprintf(map, "%lx %zx emitted_outer\n", outer, sizeof emitted_outer);
    fprintf(map, "%lx %zx emitted_loop\n", loop, sizeof emitted_loop);
    return fclose(map);
}

KEPT unsigned long run_emitted(emitted_function *function)
{
    unsigned long sum = 0;
    while (!stop)
        sum += function(UNIT);
    return sum;
}

int main(int argc, char **argv)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int file = number_argument(argc, argv, 2, 0) != 0 ? memfd_create("doublemapper", 0) : -1;
    if (file >= 0 && ftruncate(file, (off_t)page) != 0)
        return 1;
    int flags = file >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
    char *code = mmap(NULL, page, PROT_READ | PROT_WRITE, flags, file, 0);
    if (code == MAP_FAILED)
        return 1;
    char *loop = code + sizeof emitted_outer;
    memcpy(code, emitted_outer, sizeof emitted_outer);
    memcpy(loop, emitted_loop, sizeof emitted_loop);
    if (mprotect(code, page, PROT_READ | PROT_EXEC) != 0)
        return 1;
    double before = number_argument(argc, argv, 3, 0);
    volatile unsigned long result = 0;
    if (before > 0) {
        run_for(before);
        result = run_emitted((emitted_function *)code);
        stop = 0;
    }
    if (write_map((unsigned long)code, (unsigned long)loop) != 0)
        return 1;

    run_for(number_argument(argc, argv, 1, 5));
    result = run_emitted((emitted_function *)code);
    (void)result;
    return 0;
}
