/* Calls through the procedure linkage table, whose entries are bound when they are first called.
 *
 * plt [REBIND=0] [SECONDS=5]
 *
 * Expected stacks, root first:
 *   _start … main; call_often; (the table's entry of ffsl, or ffsl itself)
 *   with REBIND=1: _start … main; call_unbound; the table, and the dynamic linker that binds ffsl anew for each call
 */
#include "run_for.h"

#ifndef __x86_64__
#error "the table's entries are read as x86-64 has them"
#endif

/* By another name: the compiler knows ffsl, and would put an instruction in the place of a call. */
int find_first(long value) __asm__("ffsl");

KEPT unsigned long call_often(unsigned long value)
{
    while (!stop)
        for (unsigned long count = UNIT; count != 0; count--)
            value += (unsigned long)find_first((long)count);
    return value;
}

/* The word that ffsl's entry jumps through: endbr64 and bnd may stand before `jmp *slot(%rip)`. */
static void **slot_of_ffsl(void)
{
    unsigned char *entry;
    __asm__("lea ffsl@PLT(%%rip), %0" : "=r"(entry));
    if (entry[0] == 0xf3)
        entry += 4;
    if (entry[0] == 0xf2)
        entry += 1;
    if (entry[0] != 0xff || entry[1] != 0x25)
        exit(1);
    return (void **)(entry + 6 + *(int *)(entry + 2));
}

KEPT unsigned long call_unbound(unsigned long value)
{
    void **slot = slot_of_ffsl();
    void *unbound = *slot;
    while (!stop) {
        value += (unsigned long)find_first((long)value);
        *(void *volatile *)slot = unbound;
    }
    return value;
}

int main(int argc, char **argv)
{
    int rebind = number_argument(argc, argv, 1, 0) != 0;
    run_for(number_argument(argc, argv, 2, 5));
    volatile unsigned long result = rebind ? call_unbound(1) : call_often(1);
    (void)result;
    return 0;
}
