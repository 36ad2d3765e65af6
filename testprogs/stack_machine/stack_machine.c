/* Code made at run time that has a stack of its own, on the heap, and calls C on the thread's, as Erlang's does.
 *
 * stack_machine [SECONDS=5]
 *
 * Emits code into anonymous memory, names it in /tmp/perf-PID.map, and runs it. rbx points into the thread's stack while it runs; who calls C
 * leaves its own stack pointer in rbp. Expected stacks, root first, by turns:
 *   emitted_exit; emitted_outer; emitted_loop (all in the map)
 *   emitted_exit; emitted_outer; emitted_call (in the map); burn_in_c
 * Nothing has called emitted_exit: emitted_enter has put its address below the frame of emitted_outer.
 */
#include "run_for.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef __x86_64__
#error "the code emitted below is written for x86-64"
#endif

/* enter(top of the stack on the heap, numbers to multiply, function to call) */
typedef unsigned long entry_function(unsigned long *stack, unsigned long count, unsigned long (*call)(unsigned long));

static const unsigned char emitted_enter[] = {
    0x53,                                     /* push %rbx           */
    0x55,                                     /* push %rbp           */
    0x41, 0x54,                               /* push %r12           */
    0x41, 0x55,                               /* push %r13           */
    0x48, 0x81, 0xec, 0x08, 0x01, 0x00, 0x00, /* sub $0x108,%rsp     */
    0x48, 0x8d, 0x9c, 0x24, 0x80, 0x00, 0x00, 0x00, /* lea 0x80(%rsp),%rbx */
    0x49, 0x89, 0xf4,                         /* mov %rsi,%r12       */
    0x49, 0x89, 0xd5,                         /* mov %rdx,%r13       */
    0x48, 0x89, 0xfc,                         /* mov %rdi,%rsp       */
    0x48, 0x8d, 0x05, 0x0a, 0x00, 0x00, 0x00, /* lea emitted_exit(%rip),%rax */
    0x50,                                     /* push %rax           */
    0xeb, 0x21,                               /* jmp emitted_outer   */
    0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00, /* nop: no call stands before the next one */
};

static const unsigned char emitted_exit[] = {
    0x48, 0x8d, 0x63, 0x80,                   /* lea -0x80(%rbx),%rsp */
    0x48, 0x81, 0xc4, 0x08, 0x01, 0x00, 0x00, /* add $0x108,%rsp     */
    0x41, 0x5d,                               /* pop %r13            */
    0x41, 0x5c,                               /* pop %r12            */
    0x5d,                                     /* pop %rbp            */
    0x5b,                                     /* pop %rbx            */
    0xc3,                                     /* ret                 */
    0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00,
};

static const unsigned char emitted_outer[] = {
    0x48, 0x83, 0xec, 0x18,       /* sub $0x18,%rsp    */
    0xe8, 0x0e, 0x00, 0x00, 0x00, /* call emitted_loop */
    0x90,                         /* nop               */
    0xe8, 0x1d, 0x00, 0x00, 0x00, /* call emitted_call */
    0x48, 0x83, 0xc4, 0x18,       /* add $0x18,%rsp    */
    0xc3,                         /* ret               */
    0x66, 0x66, 0x90,             /* nop               */
};

static const unsigned char emitted_loop[] = {
    0x48, 0x83, 0xec, 0x08, /*        sub $8,%rsp     */
    0x4c, 0x89, 0xe1,       /*        mov %r12,%rcx   */
    0x48, 0x0f, 0xaf, 0xc0, /* again: imul %rax,%rax  */
    0x48, 0xff, 0xc9,       /*        dec %rcx        */
    0x75, 0xf7,             /*        jne again       */
    0x48, 0x83, 0xc4, 0x08, /*        add $8,%rsp     */
    0xc3,                   /*        ret             */
};

static const unsigned char emitted_call[] = {
    0x48, 0x89, 0xe5,       /* mov %rsp,%rbp        */
    0x48, 0x8d, 0x63, 0x80, /* lea -0x80(%rbx),%rsp */
    0x4c, 0x89, 0xe7,       /* mov %r12,%rdi        */
    0x41, 0xff, 0xd5,       /* call *%r13           */
    0x48, 0x89, 0xec,       /* mov %rbp,%rsp        */
    0xc3,                   /* ret                  */
};

static const struct {
    const char *name;
    const unsigned char *code;
    size_t size;
} parts[] = {
    {"emitted_enter", emitted_enter, sizeof emitted_enter}, {"emitted_exit", emitted_exit, sizeof emitted_exit},
    {"emitted_outer", emitted_outer, sizeof emitted_outer}, {"emitted_loop", emitted_loop, sizeof emitted_loop},
    {"emitted_call", emitted_call, sizeof emitted_call},
};

/* Puts the parts one behind the other, and writes their names down. */
static int emit(char *code)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)getpid());
    FILE *map = fopen(path, "w");
    if (map == NULL)
        return -1;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        memcpy(code, parts[i].code, parts[i].size);
        fprintf(map, "%lx %zx %s\n", (unsigned long)code, parts[i].size, parts[i].name);
        code += parts[i].size;
    }
    return fclose(map);
}

KEPT unsigned long burn_in_c(unsigned long count)
{
    return churn(count, count);
}

KEPT void run_machine(entry_function *enter, unsigned long *stack)
{
    while (!stop)
        enter(stack, UNIT, burn_in_c);
}

int main(int argc, char **argv)
{
    enum { WORDS = 4096 };
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *code = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned long *stack = mmap(NULL, WORDS * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED || stack == MAP_FAILED)
        return 1;
    if (emit(code) != 0 || mprotect(code, page, PROT_READ | PROT_EXEC) != 0)
        return 1;
    run_for(number_argument(argc, argv, 1, 5));
    /* What lies above a stack on the heap is its own business. */
    memset(stack, 0x3b, WORDS * 8);
    run_machine((entry_function *)code, stack + WORDS / 2);
    return 0;
}
