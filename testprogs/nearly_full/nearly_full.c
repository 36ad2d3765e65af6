/* A thread that is busy on the last bytes of its stack, right above the page that nobody may touch.
 *
 * nearly_full [SECONDS=5]
 *
 * Expected stack, root first: clone3; start_thread; fill_stack; descend_to_the_end (many times); burn_at_the_end
 */
#include "run_for.h"

#include <limits.h>
#include <pthread.h>

/* What burn_at_the_end needs, and a little. */
#define LEFT 192ul

KEPT unsigned long burn_at_the_end(unsigned long value)
{
    while (!stop)
        value = churn(value, UNIT);
    return value;
}

KEPT unsigned long descend_to_the_end(unsigned long lowest)
{
    volatile unsigned long here = 1;
    unsigned long value =
        (unsigned long)&here - lowest > LEFT ? descend_to_the_end(lowest) : burn_at_the_end(here);
    return value + here;
}

KEPT void *fill_stack(void *argument)
{
    pthread_attr_t attributes;
    void *lowest;
    size_t size;
    (void)argument;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        exit(1);
    if (pthread_attr_getstack(&attributes, &lowest, &size) != 0)
        exit(1);
    pthread_attr_destroy(&attributes);
    return (void *)descend_to_the_end((unsigned long)lowest);
}

int main(int argc, char **argv)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t timer;
    run_for(number_argument(argc, argv, 1, 5));
    /* There is no room for a signal's frame: only main takes the timer's. */
    sigemptyset(&timer);
    sigaddset(&timer, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &timer, NULL);
    if (pthread_attr_init(&attributes) != 0 || pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN) != 0)
        return 1;
    if (pthread_create(&thread, &attributes, fill_stack, NULL) != 0)
        return 1;
    pthread_sigmask(SIG_UNBLOCK, &timer, NULL);
    return pthread_join(thread, NULL) != 0;
}
