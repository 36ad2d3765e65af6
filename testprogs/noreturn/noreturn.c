/* A call that does not return as a function's last instruction: its return address is the next function's start.
 *
 * noreturn [SECONDS=5]
 *
 * Expected stack, root first: _start … main; give_up; burn_and_exit. Behind give_up, without padding, lies next_door.
 */
#include "run_for.h"

__attribute__((noreturn)) void burn_and_exit(unsigned long value);
void give_up(unsigned long value);

/* In this order, whatever the compiler would like. */
__asm__(".text\n"
        ".globl give_up\n"
        ".type give_up, @function\n"
        "give_up:\n"
        ".cfi_startproc\n"
        "push %rbp\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset rbp, -16\n"
        "mov %rsp, %rbp\n"
        "call burn_and_exit\n"
        ".cfi_endproc\n"
        ".size give_up, . - give_up\n"
        ".type next_door, @function\n"
        "next_door:\n"
        ".cfi_startproc\n"
        ".cfi_def_cfa_offset 4096\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size next_door, . - next_door\n");

KEPT __attribute__((noreturn)) void burn_and_exit(unsigned long value)
{
    while (!stop)
        value = churn(value, UNIT);
    exit(value == 0);
}

int main(int argc, char **argv)
{
    run_for(number_argument(argc, argv, 1, 5));
    give_up(1);
    return 1;
}
