/* Functions without any unwind information between functions with it, on the way into the C library and back.
 *
 * sorted [KEEPS_FRAME=1] [SECONDS=5]
 *
 * Expected stack, root first:
 *   _start … main; sort_with_frame; the C library's qsort; compare_slowly
 * where sort_with_frame keeps a frame pointer and says nothing about it. With KEEPS_FRAME=0 it is sort_without_frame,
 * whose caller nobody can know.
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
        ".size sort_without_frame, . - sort_without_frame\n");

void sort_with_frame(void *base, size_t count, size_t size, comparison *compare);
void sort_without_frame(void *base, size_t count, size_t size, comparison *compare);

KEPT int compare_slowly(const void *left, const void *right)
{
    volatile unsigned long result = churn(1, UNIT);
    (void)result;
    return *(const int *)left - *(const int *)right;
}

int main(int argc, char **argv)
{
    int keeps_frame = number_argument(argc, argv, 1, 1) != 0;
    run_for(number_argument(argc, argv, 2, 5));
    while (!stop) {
        int numbers[8] = {3, 1, 4, 1, 5, 9, 2, 6};
        if (keeps_frame)
            sort_with_frame(numbers, 8, sizeof numbers[0], compare_slowly);
        else
            sort_without_frame(numbers, 8, sizeof numbers[0], compare_slowly);
    }
    return 0;
}
