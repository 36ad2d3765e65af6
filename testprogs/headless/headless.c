/* A process whose first thread has ended.
 *
 * headless [SECONDS=5]
 *
 * The first thread starts another one and ends; the other one is busy. What /proc says of the process itself is then
 * empty: no mappings, no executable. Expected stack, root first: … start_thread; worker; burn_on.
 */
#include "run_for.h"

#include <pthread.h>

KEPT unsigned long burn_on(unsigned long value)
{
    while (!stop)
        value = churn(value, UNIT);
    return value;
}

KEPT void *worker(void *argument)
{
    volatile unsigned long result = burn_on((unsigned long)argument);
    (void)result;
    exit(0);
}

int main(int argc, char **argv)
{
    pthread_t thread;
    run_for(number_argument(argc, argv, 1, 5));
    if (pthread_create(&thread, NULL, worker, (void *)1) != 0)
        return 1;
    pthread_exit(NULL);
}
