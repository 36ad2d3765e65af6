/* Mappings of code that are moved, cut, and replaced by others at the same addresses.
 *
 * remapped [SECONDS=5]
 *
 * Pages of remapped.so, which lies beside the executable, are mapped by hand and called, some 40 ms each. Expected stacks,
 * root first, each below _start … main:
 *   run_moved; first_burn       moved by mremap to another address each time
 *   run_cut; second_burn        in the second half of a mapping whose first half was unmapped
 *   run_first; first_burn       mapped at one address,
 *   run_second; second_burn     and this one over it
 */
#include "run_for.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef unsigned long burner(unsigned long value, unsigned long units);

/* Some 40 ms. */
#define UNITS 4000ul

static size_t page;

/* Calls made through it return to the caller that has the name. */
#define CALLER(name)                                          \
    KEPT unsigned long name(char *code, unsigned long value)  \
    {                                                         \
        value = ((burner *)(unsigned long)code)(value, UNITS); \
        return through_stack(value);                          \
    }

CALLER(run_moved)
CALLER(run_cut)
CALLER(run_first)
CALLER(run_second)

static void *checked(void *mapped)
{
    if (mapped == MAP_FAILED)
        exit(1);
    return mapped;
}

static char *map(void *at, size_t size, int file, off_t offset)
{
    int flags = MAP_PRIVATE | (at == NULL ? 0 : MAP_FIXED);
    return checked(mmap(at, size, PROT_READ | PROT_EXEC, flags, file, offset));
}

static char *room(size_t size)
{
    return checked(mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
}

/* Where in the library's file a function begins: this one has no data, so that addresses in it are offsets. */
static off_t offset_of(void *library, const char *name)
{
    Dl_info info;
    void *function = dlsym(library, name);
    if (function == NULL || dladdr(function, &info) == 0)
        exit(1);
    return (char *)function - (char *)info.dli_fbase;
}

int main(int argc, char **argv)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 4);
    if (length <= 0)
        return 1;
    memcpy(path + length, ".so", 4);
    page = (size_t)sysconf(_SC_PAGESIZE);
    void *library = dlopen(path, RTLD_NOW);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (library == NULL || file < 0)
        return 1;
    off_t first = offset_of(library, "first_burn"), second = offset_of(library, "second_burn");
    if (second != first + (off_t)page || first % (off_t)page != 0)
        return 1;
    /* All places are chosen before, so that each is a new one in its turn. */
    char *places = room(1024 * page), *fixed = room(page);
    run_for(number_argument(argc, argv, 1, 5));
    volatile unsigned long result = 1;
    for (size_t turn = 0; !stop; turn++) {
        char *moved = map(NULL, page, file, first);
        moved = checked(mremap(moved, page, page, MREMAP_MAYMOVE | MREMAP_FIXED, places + turn % 1024 * page));
        result = run_moved(moved, result);
        char *both = map(NULL, 2 * page, file, first);
        munmap(both, page);
        result = run_cut(both + page, result);
        munmap(both + page, page);
        result = run_first(map(fixed, page, file, first), result);
        result = run_second(map(fixed, page, file, second), result);
    }
    return 0;
}
