/* Code in a library that is loaded, busy at once, and unloaded, 20 times a second or more.
 *
 * plugin [SECONDS=5]
 *
 * Expected stack, root first: _start … main; load_and_call; plugin_entry; plugin_burn (both in plugin.so, which lies
 * beside the executable). The rest is the dynamic linker.
 */
#include "run_for.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long entry_function(unsigned long value, unsigned long units);

/* Some 40 ms. */
#define UNITS 4000ul

KEPT unsigned long load_and_call(const char *path, unsigned long value)
{
    void *library = dlopen(path, RTLD_NOW);
    entry_function *entry = library == NULL ? NULL : (entry_function *)dlsym(library, "plugin_entry");
    if (entry == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    value = entry(value, UNITS);
    dlclose(library);
    return value;
}

int main(int argc, char **argv)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 4);
    if (length <= 0)
        return 1;
    memcpy(path + length, ".so", 4);
    run_for(number_argument(argc, argv, 1, 5));
    volatile unsigned long result = 1;
    while (!stop)
        result = load_and_call(path, result);
    return 0;
}
