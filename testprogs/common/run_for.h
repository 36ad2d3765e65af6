/* Ends a program's burning after a given time without a call on the burning path: a timer signal sets `stop`. */
#ifndef RUN_FOR_H
#define RUN_FOR_H

#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

/* A function that stays one function with one frame, as its source says: not inlined, cloned, merged or specialised. */
#define KEPT __attribute__((noipa))

/* Work done between two looks at `stop`: about 10 us, so that what runs in turn is finely mixed. */
#define UNIT 10000ul

static volatile sig_atomic_t stop;

static void on_timer(int signal_number)
{
    (void)signal_number;
    stop = 1;
}

/* `stop` becomes 1 after `seconds` of wall time. */
static inline void run_for(double seconds)
{
    struct itimerval timer = {{0, 0}, {0, 0}};
    if (seconds < 0.001 || seconds > 86400)
        exit(2);
    timer.it_value.tv_sec = (long)seconds;
    timer.it_value.tv_usec = (long)((seconds - (double)(long)seconds) * 1e6);
    signal(SIGALRM, on_timer);
    setitimer(ITIMER_REAL, &timer, NULL);
}

/* Argument `index` as a number, or `otherwise` when it is not given. */
static inline double number_argument(int argc, char **argv, int index, double otherwise)
{
    return index < argc ? atof(argv[index]) : otherwise;
}

/* `value`, by way of the caller's stack. GCC gives a leaf function that touches no stack no frame pointer either,
 * whatever its flags say. */
static inline __attribute__((always_inline)) unsigned long through_stack(unsigned long value)
{
    volatile unsigned long kept = value;
    return kept;
}

/* `count` multiplications, each waiting for the one before: the time depends on nothing but `count`. */
static inline __attribute__((always_inline)) unsigned long churn(unsigned long value, unsigned long count)
{
    value = through_stack(value);
    for (; count != 0; count--) {
        value = value * 6364136223846793005ul + 1442695040888963407ul;
        __asm__ volatile("" : "+r"(value));
    }
    return value;
}

#endif
