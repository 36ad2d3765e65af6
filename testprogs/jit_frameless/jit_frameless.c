/* Code made at run time that keeps no frame pointer and uses its register for a number, as most compilers' code does.
 *
 * jit_frameless [SECONDS=5]
 *
 * Emits two functions into anonymous memory, names them in /tmp/perf-PID.map, and calls them. Expected stack, root first:
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

static const unsigned char emitted_outer[] = {
    0x55,                         /* push %rbp         */
    0x53,                         /* push %rbx         */
    0x48, 0x83, 0xec, 0x28,       /* sub $0x28,%rsp    */
    0xbd, 0x01, 0x00, 0x00, 0x00, /* mov $1,%ebp       */
    0x48, 0x89, 0xfb,             /* mov %rdi,%rbx     */
    0xe8, 0x07, 0x00, 0x00, 0x00, /* call emitted_loop */
    0x48, 0x83, 0xc4, 0x28,       /* add $0x28,%rsp    */
    0x5b,                         /* pop %rbx          */
    0x5d,                         /* pop %rbp          */
    0xc3,                         /* ret               */
};

/* Lies right behind emitted_outer. */
static const unsigned char emitted_loop[] = {
    0x48, 0x83, 0xec, 0x18, /*        sub $0x18,%rsp  */
    0x48, 0x89, 0xf8,       /*        mov %rdi,%rax   */
    0x48, 0x0f, 0xaf, 0xc0, /* again: imul %rax,%rax  */
    0x48, 0xff, 0xcf,       /*        dec %rdi        */
    0x75, 0xf7,             /*        jne again       */
    0x48, 0x83, 0xc4, 0x18, /*        add $0x18,%rsp  */
    0xc3,                   /*        ret             */
};

static int write_map(unsigned long outer)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)getpid());
    FILE *map = fopen(path, "w");
    if (map == NULL)
        return -1;
    fprintf(map, "%lx %zx emitted_outer\n", outer, sizeof emitted_outer);
    fprintf(map, "%lx %zx emitted_loop\n", outer + sizeof emitted_outer, sizeof emitted_loop);
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
    char *code = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED)
        return 1;
    memcpy(code, emitted_outer, sizeof emitted_outer);
    memcpy(code + sizeof emitted_outer, emitted_loop, sizeof emitted_loop);
    if (mprotect(code, page, PROT_READ | PROT_EXEC) != 0 || write_map((unsigned long)code) != 0)
        return 1;
    run_for(number_argument(argc, argv, 1, 5));
    volatile unsigned long result = run_emitted((emitted_function *)code);
    (void)result;
    return 0;
}
