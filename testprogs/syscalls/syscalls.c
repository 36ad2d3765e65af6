/* A program that is in the kernel most of the time.
 *
 * syscalls [SECONDS=5]
 *
 * Expected user stacks, root first, most of them with a kernel stack on top:
 *   _start … main; busy_syscalls; ask_parent   (getppid)
 *   _start … main; busy_syscalls; read_zero    (read of 16 KiB from /dev/zero: most of the time)
 *   _start … main; busy_syscalls; write_null   (write to /dev/null)
 * The system calls are made right here, not in libc, so that these functions are the innermost user frames.
 */
#include "run_for.h"

#include <fcntl.h>
#include <sys/syscall.h>

#ifndef __x86_64__
#error "the system calls below are written for x86-64"
#endif

static char buffer[16 * 1024];

static inline __attribute__((always_inline)) long system_call(long number, long first, long second, long third)
{
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(first), "S"(second), "d"(third)
                     : "rcx", "r11", "memory");
    return (long)through_stack((unsigned long)result);
}

KEPT long ask_parent(void)
{
    return system_call(SYS_getppid, 0, 0, 0);
}

KEPT long read_zero(int file)
{
    return system_call(SYS_read, file, (long)buffer, sizeof buffer);
}

KEPT long write_null(int file)
{
    return system_call(SYS_write, file, (long)buffer, sizeof buffer);
}

KEPT long busy_syscalls(int zero, int null)
{
    long sum = 0;
    while (!stop)
        sum += ask_parent() + read_zero(zero) + write_null(null);
    return sum;
}

int main(int argc, char **argv)
{
    int zero = open("/dev/zero", O_RDONLY);
    int null = open("/dev/null", O_WRONLY);
    if (zero < 0 || null < 0)
        return 1;
    run_for(number_argument(argc, argv, 1, 5));
    volatile long result = busy_syscalls(zero, null);
    (void)result;
    return 0;
}
