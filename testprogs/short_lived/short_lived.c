/* Many processes that live for 30 ms each, or for another time.
 *
 * short_lived [PER_SECOND=40] [SECONDS=5] [CHILD_SECONDS=0.03]
 *
 * The parent starts PER_SECOND * SECONDS children by fork and exec of this same file, evenly spaced (late when
 * the machine has no CPU left), and prints how many: `children N`. At most 200 live at a time.
 * Expected stack of a child, root first: _start … main; short_work.
 */
#include "run_for.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHILD_SECONDS "0.030"
#define LIVE_AT_MOST 200

KEPT unsigned long short_work(unsigned long value)
{
    while (!stop)
        value = churn(value, UNIT);
    return value;
}

static void start_child(const char *file, const char *child_seconds)
{
    char *arguments[] = {(char *)file, "child", (char *)child_seconds, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        execv(file, arguments);
        _exit(127);
    }
    if (pid < 0) {
        perror("fork");
        exit(1);
    }
}

static int reap(int options)
{
    int status;
    pid_t pid = waitpid(-1, &status, options);
    if (pid > 0 && status != 0) {
        fprintf(stderr, "a child ended with status %d\n", status);
        exit(1);
    }
    return pid > 0;
}

static void sleep_until(struct timespec *due, double later)
{
    long nanoseconds = due->tv_nsec + (long)(later * 1e9);
    due->tv_sec += nanoseconds / 1000000000;
    due->tv_nsec = nanoseconds % 1000000000;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, due, NULL) == EINTR)
        ;
}

static int parent(double per_second, double seconds, const char *child_seconds)
{
    /* Not /proc/self/exe: the name of the process would become `exe`. */
    char file[4096];
    ssize_t length = readlink("/proc/self/exe", file, sizeof file - 1);
    if (length < 0 || per_second < 1 || per_second > 1000 || seconds < 0 || seconds > 86400)
        return 2;
    file[length] = 0;

    struct timespec due;
    clock_gettime(CLOCK_MONOTONIC, &due);
    long started = 0, live = 0;
    for (long total = (long)(per_second * seconds); started < total; started++, live++) {
        start_child(file, child_seconds);
        sleep_until(&due, 1 / per_second);
        while (live > 0 && reap(live < LIVE_AT_MOST ? WNOHANG : 0))
            live--;
    }
    while (reap(0))
        ;
    printf("children %ld\n", started);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "child") == 0) {
        run_for(number_argument(argc, argv, 2, 0));
        volatile unsigned long result = short_work(1);
        (void)result;
        return 0;
    }
    return parent(number_argument(argc, argv, 1, 40), number_argument(argc, argv, 2, 5),
                  argc > 3 ? argv[3] : CHILD_SECONDS);
}
