/* Preloaded into a program, this counts the calls that change what is on the disk below one folder, writes each of them down, and
 * sends the program a signal just before one of them. The program itself knows nothing of it.
 *
 *   CRASH_FOLDER  the folder (absolute)
 *   CRASH_LOG     file that gets a line for each call: "NUMBER NAME PATH"
 *   CRASH_CALL    which calls are counted and logged (e.g. rename); empty: all
 *   CRASH_AT      number of the call, from 1; 0: none
 *   CRASH_SIGNAL  the signal
 *   CRASH_TORN    1: a write that is struck has written half of its bytes
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static const char *folder, *call;
static size_t folder_length;
static long at;
static int signal_to_send, torn, log_file = -1;
static atomic_long count;

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

/* The next definition of a function: the C library's. */
#define NEXT(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void start(void) {
    folder = getenv("CRASH_FOLDER");
    folder_length = folder ? strlen(folder) : 0;
    call = getenv("CRASH_CALL");
    at = number("CRASH_AT");
    signal_to_send = (int)number("CRASH_SIGNAL");
    torn = (int)number("CRASH_TORN");
    const char *log = getenv("CRASH_LOG");
    if (log)
        log_file = NEXT(int, open, const char *, int, ...)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int is_below(const char *path) {
    return folder && path && strncmp(path, folder, folder_length) == 0 && (path[folder_length] == '/' || path[folder_length] == 0);
}

static void strike(void) {
    kill(getpid(), signal_to_send);
    while (signal_to_send == SIGKILL)
        pause();
}

/* Writes a call down; true when it is the one. */
static int is_struck(const char *name, const char *path) {
    if (!is_below(path) || (call && *call && strcmp(call, name) != 0))
        return 0;
    long mine = atomic_fetch_add(&count, 1) + 1;
    char line[4200];
    int length = snprintf(line, sizeof line, "%ld %s %s\n", mine, name, path);
    if (log_file >= 0 && NEXT(ssize_t, write, int, const void *, size_t)(log_file, line, (size_t)length) < 0)
        abort();
    return mine == at;
}

static void meet(const char *name, const char *path) {
    if (is_struck(name, path))
        strike();
}

static const char *path_of(int file, char *buffer, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, buffer, size - 1);
    buffer[length < 0 ? 0 : length] = 0;
    return buffer;
}

static int is_struck_file(const char *name, int file) {
    char buffer[4096];
    return folder && is_struck(name, path_of(file, buffer, sizeof buffer));
}

static void meet_opening(const char *path, int flags) {
    if ((flags & O_ACCMODE) != O_RDONLY && (flags & (O_CREAT | O_TRUNC)))
        meet("create", path);
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }

int open(const char *path, int flags, ...) {
    MODE(flags)
    meet_opening(path, flags);
    return NEXT(int, open, const char *, int, ...)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags)
    meet_opening(path, flags);
    return NEXT(int, open64, const char *, int, ...)(path, flags, mode);
}

ssize_t write(int file, const void *bytes, size_t size) {
    ssize_t (*next)(int, const void *, size_t) = NEXT(ssize_t, write, int, const void *, size_t);
    if (is_struck_file("write", file)) {
        if (torn && size > 1 && next(file, bytes, size / 2) < 0)
            abort();
        strike();
    }
    return next(file, bytes, size);
}

#define POSITIONED_WRITE(name, offset_type) \
    ssize_t name(int file, const void *bytes, size_t size, offset_type offset) { \
        ssize_t (*next)(int, const void *, size_t, offset_type) = NEXT(ssize_t, name, int, const void *, size_t, offset_type); \
        if (is_struck_file("write", file)) { \
            if (torn && size > 1 && next(file, bytes, size / 2, offset) < 0) \
                abort(); \
            strike(); \
        } \
        return next(file, bytes, size, offset); \
    }

POSITIONED_WRITE(pwrite, off_t)
POSITIONED_WRITE(pwrite64, off64_t)

int fsync(int file) {
    if (is_struck_file("fsync", file))
        strike();
    return NEXT(int, fsync, int)(file);
}

int ftruncate(int file, off_t size) {
    if (is_struck_file("ftruncate", file))
        strike();
    return NEXT(int, ftruncate, int, off_t)(file, size);
}

int ftruncate64(int file, off64_t size) {
    if (is_struck_file("ftruncate", file))
        strike();
    return NEXT(int, ftruncate64, int, off64_t)(file, size);
}

int rename(const char *from, const char *to) {
    meet("rename", from);
    return NEXT(int, rename, const char *, const char *)(from, to);
}

int link(const char *from, const char *to) {
    meet("link", to);
    return NEXT(int, link, const char *, const char *)(from, to);
}

int unlink(const char *path) {
    meet("unlink", path);
    return NEXT(int, unlink, const char *)(path);
}

int rmdir(const char *path) {
    meet("rmdir", path);
    return NEXT(int, rmdir, const char *)(path);
}

int mkdir(const char *path, mode_t mode) {
    meet("mkdir", path);
    return NEXT(int, mkdir, const char *, mode_t)(path, mode);
}
