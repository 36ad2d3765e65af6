/* Functions without any unwind information between functions with it, on the way into the C library and back.
 *
 * sorted [HOW=1] [SECONDS=5]
 *
 * Expected stack, root first:
 *   _start … main; sort_with_frame; the C library's qsort; compare_slowly
 * where sort_with_frame keeps a frame pointer and says nothing about it. With HOW=0 it is sort_without_frame, whose caller is known
 * to those only who see what its instructions do to the stack pointer; with HOW=2 sort_out_of_sight, which keeps the stack pointer in a
 * variable, so that nobody can know it.
 */
#include "run_for.h"

#ifndef __x86_64__
#error "the functions below are written for x86-64"
#endif

typedef int comparison(const void *left, const void *right);

__asm__(".text\n"
        ".globl sort_with_frame\n"
        ".type sort_with_frame, @function\n"
        "sort_with_frame:\n"
        "push %rbp\n"
        "mov %rsp, %rbp\n"
        "call qsort@PLT\n"
        "pop %rbp\n"
        "ret\n"
        ".size sort_with_frame, . - sort_with_frame\n"
        ".globl sort_without_frame\n"
        ".type sort_without_frame, @function\n"
        "sort_without_frame:\n"
        "sub $40, %rsp\n"
        "call qsort@PLT\n"
        "add $40, %rsp\n"
        "ret\n"
        ".size sort_without_frame, . - sort_without_frame\n"
        ".globl sort_out_of_sight\n"
        ".type sort_out_of_sight, @function\n"
        "sort_out_of_sight:\n"
        "mov %rsp, kept(%rip)\n"
        "sub $40, %rsp\n"
        "call qsort@PLT\n"
        "mov kept(%rip), %rsp\n"
        "ret\n"
        ".size sort_out_of_sight, . - sort_out_of_sight\n"
        ".local kept\n"
        ".comm kept, 8, 8\n");

void sort_with_frame(void *base, size_t count, size_t size, comparison *compare);
void sort_without_frame(void *base, size_t count, size_t size, comparison *compare);
void sort_out_of_sight(void *base, size_t count, size_t size, comparison *compare);

KEPT int compare_slowly(const void *left, const void *right)
{
    volatile unsigned long result = churn(1, UNIT);
    (void)result;
    return *(const int *)left - *(const int *)right;
}

int main(int argc, char **argv)
{
    int how = (int)number_argument(argc, argv, 1, 1);
    run_for(number_argument(argc, argv, 2, 5));
    while (!stop) {
        int numbers[8] = {3, 1, 4, 1, 5, 9, 2, 6};
        if (how == 1)
            sort_with_frame(numbers, 8, sizeof numbers[0], compare_slowly);
        else if (how == 2)
            sort_out_of_sight(numbers, 8, sizeof numbers[0], compare_slowly);
        else
            sort_without_frame(numbers, 8, sizeof numbers[0], compare_slowly);
    }
    return 0;
}
