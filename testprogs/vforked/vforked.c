/* A child that is busy in its parent's address space, on its parent's stack.
 *
 * vforked [SECONDS=5]
 *
 * Expected stack of the child, root first: _start … main; share_memory; burn_in_child. The parent waits for it.
 */
#include "run_for.h"

#include <sys/wait.h>
#include <unistd.h>

KEPT unsigned long burn_in_child(unsigned long value)
{
    while (!stop)
        value = churn(value, UNIT);
    return value;
}

KEPT int share_memory(double seconds)
{
    int status = 0;
    pid_t pid = vfork();
    if (pid < 0)
        return 1;
    if (pid == 0) {
        /* A timer is not inherited. */
        run_for(seconds);
        volatile unsigned long result = burn_in_child(1);
        (void)result;
        _exit(0);
    }
    return waitpid(pid, &status, 0) == pid ? status : 1;
}

int main(int argc, char **argv)
{
    return share_memory(number_argument(argc, argv, 1, 5));
}
