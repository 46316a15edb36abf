// Faults of EGL and OpenGL ES on demand: an LD_PRELOAD library for tests.
//
//   EGLFAULT=CALL:name=number,name=number
//     CALL   eglMakeCurrent (only calls that bind a context count), eglInitialize, eglCreateContext,
//            glCreateProgram or glGetError
//     from   the first call of a process with the fault, counted from 1; without it the first
//     count  so many calls have it; without it all that follow
//     total  at most so many in all processes that share the record; without it any number
//     code   what eglGetError then says (without it 0x3008), or what glGetError itself returns
//     abort  1: the call aborts the process; hang  1: it never returns
//     armed  0: calls do not count before the process has called eglfault_arm() (through ctypes)
//   EGLFAULT_RECORD=FILE    gets a line "pid CALL number" for each fault, the first 100 of a process
//   EGLFAULT_ONCE=FILE      only the process that comes to make this file has the fault; later ones are healthy
//   EGLFAULT_RENDERER=TEXT  what glGetString(GL_RENDERER) says
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define MAX_LINES 100  // a fault that lasts for ever would fill the disk
#define GL_RENDERER 0x1F01

static struct { char call[32]; long from, count, total, code, abort, hang, armed; } fault;
static _Thread_local int pending;  // what eglGetError has to say of the call that failed

static long option(const char *text, const char *name, long otherwise) {
    const char *found = strstr(text, name);
    return found ? strtol(found + strlen(name), NULL, 0) : otherwise;
}

__attribute__((constructor)) static void read_environment(void) {
    const char *text = getenv("EGLFAULT"), *colon = text ? strchr(text, ':') : NULL;
    if (!colon || colon - text >= (long)sizeof fault.call) return;
    memcpy(fault.call, text, colon - text);
    fault.from = option(colon, "from=", 1);
    fault.count = option(colon, "count=", -1);
    fault.total = option(colon, "total=", -1);
    fault.code = option(colon, "code=", 0x3008);
    fault.abort = option(colon, "abort=", 0);
    fault.hang = option(colon, "hang=", 0);
    fault.armed = option(colon, "armed=", 1);
}

void eglfault_arm(void) { fault.armed = 1; }

static pthread_once_t claimed = PTHREAD_ONCE_INIT;
static int mine;
static void claim(void) {
    const char *path = getenv("EGLFAULT_ONCE");
    mine = !path || open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600) >= 0;
}

// Writes the fault down; returns 0 where the record says that there have been enough.
static int record(long number) {
    static long lines;
    const char *path = getenv("EGLFAULT_RECORD");
    if (!path || (fault.total < 0 && lines >= MAX_LINES)) return 1;
    int file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600), length;
    if (file < 0) { perror(path); abort(); }
    flock(file, LOCK_EX);
    long so_far = 0;
    for (char text[4096]; (length = read(file, text, sizeof text)) > 0;)
        while (length) so_far += text[--length] == '\n';
    int allowed = fault.total < 0 || so_far < fault.total;
    if (allowed && ++lines) dprintf(file, "%d %s %ld\n", getpid(), fault.call, number);
    close(file);
    return allowed;
}

// Counts a call; returns whether it has the fault.
static int strikes(const char *call) {
    static long calls;
    if (!fault.armed || strcmp(call, fault.call)) return 0;
    long number = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    if (number < fault.from || (fault.count >= 0 && number >= fault.from + fault.count)) return 0;
    pthread_once(&claimed, claim);
    if (!mine || !record(number)) return 0;
    if (fault.abort) abort();
    while (fault.hang) pause();
    if (call[0] == 'e') pending = fault.code;
    return 1;
}

// MediaPipe 0.10.21 brings libEGL-HASH.so of its own, loaded out of sight of the linker's search order and
// so of RTLD_NEXT; the list of all that is loaded has it. libEGL_mesa.so is a driver, not the library.
static int is_library(struct dl_phdr_info *info, size_t size, void *data) {
    const char **search = data, *name = strrchr(info->dlpi_name, '/');  // {start of its name, found path}
    (void)size;
    if (!name || strncmp(name + 1, search[0], strlen(search[0])) || !strchr("-.", name[1 + strlen(search[0])]))
        return 0;
    search[1] = info->dlpi_name;
    return 1;
}

static void *real(const char *call) {
    void *address = dlsym(RTLD_NEXT, call);
    const char *search[2] = {call[0] == 'e' ? "libEGL" : "libGLESv2", NULL};
    if (!address && dl_iterate_phdr(is_library, search))
        address = dlsym(dlopen(search[1], RTLD_LAZY | RTLD_NOLOAD), call);
    if (!address) { fprintf(stderr, "eglfaults: no %s is loaded\n", call); abort(); }
    return address;
}
#define REAL(call) static __typeof__(&call) next; if (!next) next = (__typeof__(&call))real(#call)

unsigned eglMakeCurrent(void *display, void *draw, void *read_from, void *context) {
    REAL(eglMakeCurrent);
    return context && strikes("eglMakeCurrent") ? 0 : next(display, draw, read_from, context);
}

unsigned eglInitialize(void *display, int *major, int *minor) {
    REAL(eglInitialize);
    return strikes("eglInitialize") ? 0 : next(display, major, minor);
}

void *eglCreateContext(void *display, void *config, void *shared, const int *attributes) {
    REAL(eglCreateContext);
    return strikes("eglCreateContext") ? NULL : next(display, config, shared, attributes);
}

int eglGetError(void) {
    REAL(eglGetError);
    int code = pending;
    pending = 0;
    return code ? code : next();
}

unsigned glCreateProgram(void) {
    REAL(glCreateProgram);
    return strikes("glCreateProgram") ? 0 : next();
}

unsigned glGetError(void) {
    REAL(glGetError);
    return strikes("glGetError") ? fault.code : next();
}

const unsigned char *glGetString(unsigned name) {
    REAL(glGetString);
    const char *renderer = name == GL_RENDERER ? getenv("EGLFAULT_RENDERER") : NULL;
    return renderer ? (const unsigned char *)renderer : next(name);
}
