/* A disk under test, preloaded into a process: it records what happens to the files of one folder, or makes it fail.

   Told by environment variables, read at the start and again by claw_torture_start():
     CLAW_TORTURE_ROOT    the folder (a real path); without it nothing is done
     CLAW_TORTURE_TRACE   file that every change, sync and mark is appended to; outside the folder
     CLAW_TORTURE_AT      number of the change, from 1, at which the fault comes
     CLAW_TORTURE_DO      "once": that change alone fails; "always": all from there on; "short": half of the write is
                          done, the rest fails; "kill": SIGKILL before it; "tear": SIGKILL in the middle of the write
     CLAW_TORTURE_ERRNO   what failing changes say: ENOSPC (28) or EIO (5)

   A descriptor's file is asked of /proc/self/fd, so duplicated and inherited descriptors count as well. SQLite's
   shared memory (-shm) meets faults but isn't recorded: the next process makes it anew. On a full disk, what frees
   room still works.

   A record: length of what follows the header, operation, inode, offset or size, lengths of path, other path and
   data; then those three. Everything is little-endian, as every machine is that this runs on. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define OWN_PATH (2 * PATH_MAX)

enum operation {
    CREATE = 1, WRITE, RESIZE, SYNC, SYNC_FOLDER, RENAME, EXCHANGE, UNLINK, MKDIR, RMDIR, LINK, SYNC_FAILED, MARK
};
enum manner { NOTHING, ONCE, ALWAYS, SHORT, KILL, TEAR };
enum verdict { PASS, FAIL, HALF };

struct header {
    uint32_t length;
    uint8_t operation;
    uint8_t unused[3];
    uint64_t inode, offset;
    uint16_t path, other;
    uint32_t data;
};

static pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static char root[PATH_MAX];
static size_t root_length;
static int trace = -1;
static enum manner manner;
static long at, count;
static int failure, fired;

void claw_torture_start(void) {
    const char *text = getenv("CLAW_TORTURE_ROOT");
    root_length = 0;
    if (trace >= 0) syscall(SYS_close, trace);
    trace = -1;
    manner = NOTHING;
    count = at = fired = 0;
    if (!text || !*text || strlen(text) >= sizeof root) return;
    strcpy(root, text);
    if ((text = getenv("CLAW_TORTURE_TRACE")) && *text) {
        trace = syscall(SYS_openat, AT_FDCWD, text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (trace < 0) abort();
    }
    if ((text = getenv("CLAW_TORTURE_DO")) && *text) {
        const char *names[] = {"", "once", "always", "short", "kill", "tear"};
        for (int i = ONCE; i <= TEAR; i++)
            if (!strcmp(text, names[i])) manner = i;
        at = (text = getenv("CLAW_TORTURE_AT")) ? atol(text) : 0;
        failure = (text = getenv("CLAW_TORTURE_ERRNO")) ? atoi(text) : EIO;
    }
    root_length = strlen(root);
}

__attribute__((constructor)) static void begin(void) { claw_torture_start(); }

/* Whether the fault came, and how many changes there were. */
int claw_torture_fired(void) { return fired; }
long claw_torture_count(void) { return count; }

static void lock(void) {
    pthread_mutex_lock(&mutex);
    if (trace >= 0) syscall(SYS_flock, trace, LOCK_EX); /* other processes of the same workload */
}

static void unlock(void) {
    int kept = errno;
    if (trace >= 0) syscall(SYS_flock, trace, LOCK_UN);
    pthread_mutex_unlock(&mutex);
    errno = kept;
}

static void record(enum operation operation, uint64_t inode, uint64_t offset, const char *path, const char *other,
                   const void *data, size_t size) {
    if (trace < 0) return;
    struct header header = {.operation = operation, .inode = inode, .offset = offset, .data = size};
    header.path = path ? strlen(path) : 0;
    header.other = other ? strlen(other) : 0;
    header.length = header.path + header.other + size;
    struct iovec parts[] = {
        {&header, sizeof header}, {(void *)path, header.path}, {(void *)other, header.other}, {(void *)data, size}};
    size_t whole = sizeof header + header.length;
    if (syscall(SYS_writev, trace, parts, 4) != (long)whole) abort();
}

void claw_torture_mark(const char *text, size_t size) {
    lock();
    record(MARK, 0, 0, NULL, NULL, text, size);
    unlock();
}

static int below_root(const char *path) {
    return root_length && !strncmp(path, root, root_length) && path[root_length] == '/';
}

static int shared_memory(const char *path) {
    const char *end = strstr(path, "-shm");
    return end && (!end[4] || end[4] == ' '); /* "-shm (deleted)" */
}

/* The whole path of a name, when it lies below the root. */
static int found(int folder, const char *path, char whole[OWN_PATH]) {
    if (!root_length || !path) return 0;
    if (path[0] == '/') {
        snprintf(whole, OWN_PATH, "%s", path);
        return below_root(whole);
    }
    char start[PATH_MAX], link[40];
    if (folder == AT_FDCWD) {
        if (syscall(SYS_getcwd, start, sizeof start) < 0) return 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, start, sizeof start - 1);
        if (length < 0) return 0;
        start[length] = 0;
    }
    snprintf(whole, OWN_PATH, "%s/%s", start, path);
    return below_root(whole);
}

/* The same of a descriptor. The root itself counts, for it can be synced. */
static int held(int descriptor, char whole[OWN_PATH]) {
    if (!root_length) return 0;
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, whole, PATH_MAX);
    if (length < 0) return 0;
    whole[length] = 0;
    return below_root(whole) || !strcmp(whole, root);
}

static uint64_t inode_of(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) ? 0 : status.st_ino;
}

static off_t size_of(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) ? 0 : status.st_size;
}

static enum verdict meet(enum operation operation, int frees) {
    if (manner == NOTHING) {
        count++;
        return PASS;
    }
    if (frees && failure == ENOSPC && manner <= SHORT) return PASS;
    if (++count < at) return PASS;
    if (count > at) return manner == ALWAYS || manner == SHORT ? FAIL : PASS;
    fired = 1;
    if (operation == WRITE && (manner == SHORT || manner == TEAR)) return HALF;
    if (manner == KILL || manner == TEAR) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    return FAIL;
}

static int failed(void) {
    errno = failure;
    return -1;
}

static int do_open(int folder, const char *path, int flags, mode_t mode) {
    char whole[OWN_PATH];
    if (!(flags & (O_CREAT | O_TRUNC)) || !found(folder, path, whole))
        return syscall(SYS_openat, folder, path, flags, mode);
    lock();
    struct stat before;
    int existed = !stat(whole, &before);
    int creates = !existed && (flags & O_CREAT);
    int cuts = existed && (flags & O_TRUNC) && S_ISREG(before.st_mode) && before.st_size;
    int result = -1;
    if ((creates || cuts) && meet(creates ? CREATE : RESIZE, cuts) != PASS) {
        result = failed();
    } else if ((result = syscall(SYS_openat, folder, path, flags, mode)) >= 0 && !shared_memory(whole)) {
        if (creates) record(CREATE, inode_of(result), 0, whole, NULL, NULL, 0);
        if (cuts) record(RESIZE, before.st_ino, 0, whole, NULL, NULL, 0);
    }
    unlock();
    return result;
}

static mode_t mode_in(int flags, va_list rest) {
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list rest; va_start(rest, flags); mode_t mode = mode_in(flags, rest); va_end(rest); \
        return do_open(AT_FDCWD, path, flags, mode); }
#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        va_list rest; va_start(rest, flags); mode_t mode = mode_in(flags, rest); va_end(rest); \
        return do_open(folder, path, flags, mode); }
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)

int creat(const char *path, mode_t mode) { return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

/* A write at an offset, or at the descriptor's own position when that is negative. */
static ssize_t do_write(int descriptor, const void *data, size_t size, off_t offset) {
    char whole[OWN_PATH];
    int ours = held(descriptor, whole);
    if (ours) lock();
    enum verdict verdict = ours ? meet(WRITE, 0) : PASS;
    if (verdict == HALF) size /= 2;
    ssize_t written = -1;
    if (verdict == FAIL || (verdict == HALF && manner == SHORT && !size)) {
        failed();
    } else {
        written = offset < 0 ? syscall(SYS_write, descriptor, data, size)
                             : syscall(SYS_pwrite64, descriptor, data, size, offset);
        if (ours && written > 0 && !shared_memory(whole)) {
            int appends = fcntl(descriptor, F_GETFL) & O_APPEND; /* pwrite() too, whatever its offset */
            off_t start = appends      ? size_of(descriptor) - written
                          : offset < 0 ? lseek(descriptor, 0, SEEK_CUR) - written
                                       : offset;
            record(WRITE, inode_of(descriptor), start, whole, NULL, data, written);
        }
        if (verdict == HALF && manner == TEAR) {
            kill(getpid(), SIGKILL);
            for (;;) pause();
        }
    }
    if (ours) unlock();
    return written;
}

ssize_t write(int descriptor, const void *data, size_t size) { return do_write(descriptor, data, size, -1); }
ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset) {
    return do_write(descriptor, data, size, offset);
}
ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t offset) {
    return do_write(descriptor, data, size, offset);
}

static ssize_t do_writev(int descriptor, const struct iovec *parts, int number, off_t offset) {
    char whole[OWN_PATH];
    if (!held(descriptor, whole))
        return offset < 0 ? syscall(SYS_writev, descriptor, parts, number)
                          : syscall(SYS_pwritev, descriptor, parts, number, offset, (long)0);
    size_t size = 0, filled = 0;
    for (int i = 0; i < number; i++) size += parts[i].iov_len;
    char *data = malloc(size ? size : 1);
    if (!data) return -1;
    for (int i = 0; i < number; filled += parts[i++].iov_len)
        memcpy(data + filled, parts[i].iov_base, parts[i].iov_len);
    ssize_t written = do_write(descriptor, data, size, offset);
    int kept = errno;
    free(data);
    errno = kept;
    return written;
}

ssize_t writev(int descriptor, const struct iovec *parts, int number) {
    return do_writev(descriptor, parts, number, -1);
}
ssize_t pwritev(int descriptor, const struct iovec *parts, int number, off_t offset) {
    return do_writev(descriptor, parts, number, offset);
}
ssize_t pwritev64(int descriptor, const struct iovec *parts, int number, off64_t offset) {
    return do_writev(descriptor, parts, number, offset);
}

/* Copies inside the kernel would pass us by; everybody falls back to write() where they aren't to be had. */
ssize_t sendfile(int to, int from, off_t *offset, size_t size) {
    char whole[OWN_PATH];
    if (held(to, whole)) { errno = EINVAL; return -1; }
    return syscall(SYS_sendfile, to, from, offset, size);
}
ssize_t sendfile64(int to, int from, off64_t *offset, size_t size) { return sendfile(to, from, offset, size); }
ssize_t copy_file_range(int from, off64_t *start, int to, off64_t *target, size_t size, unsigned flags) {
    char whole[OWN_PATH];
    if (held(to, whole)) { errno = EXDEV; return -1; }
    return syscall(SYS_copy_file_range, from, start, to, target, size, flags);
}

static int do_resize(int descriptor, off_t size, int only_grow) {
    char whole[OWN_PATH];
    struct stat before;
    if (!held(descriptor, whole) || fstat(descriptor, &before)) return syscall(SYS_ftruncate, descriptor, size);
    if (only_grow && size <= before.st_size) return 0;
    lock();
    int result = -1;
    if (meet(RESIZE, size <= before.st_size) != PASS) {
        failed();
    } else if (!(result = syscall(SYS_ftruncate, descriptor, size)) && !shared_memory(whole)) {
        record(RESIZE, before.st_ino, size, whole, NULL, NULL, 0);
    }
    unlock();
    return result;
}

int ftruncate(int descriptor, off_t size) { return do_resize(descriptor, size, 0); }
int ftruncate64(int descriptor, off64_t size) { return do_resize(descriptor, size, 0); }
int posix_fallocate(int descriptor, off_t offset, off_t size) {
    return do_resize(descriptor, offset + size, 1) ? errno : 0;
}
int posix_fallocate64(int descriptor, off64_t offset, off64_t size) {
    return posix_fallocate(descriptor, offset, size);
}
int fallocate(int descriptor, int mode, off_t offset, off_t size) {
    char whole[OWN_PATH];
    if (!held(descriptor, whole)) return syscall(SYS_fallocate, descriptor, mode, offset, size);
    if (mode) { errno = EOPNOTSUPP; return -1; }
    return do_resize(descriptor, offset + size, 1);
}
int fallocate64(int descriptor, int mode, off64_t offset, off64_t size) {
    return fallocate(descriptor, mode, offset, size);
}

int truncate(const char *path, off_t size) {
    int descriptor = do_open(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (descriptor < 0) return -1;
    int result = do_resize(descriptor, size, 0), kept = errno;
    syscall(SYS_close, descriptor);
    errno = kept;
    return result;
}
int truncate64(const char *path, off64_t size) { return truncate(path, size); }

static int do_sync(int descriptor, long call) {
    char whole[OWN_PATH];
    struct stat status;
    if (!held(descriptor, whole) || fstat(descriptor, &status)) return syscall(call, descriptor);
    lock();
    int result = -1, recorded = !shared_memory(whole);
    if (meet(SYNC, 0) != PASS) {
        if (recorded) record(SYNC_FAILED, status.st_ino, 0, whole, NULL, NULL, 0);
        failed();
    } else if (!(result = syscall(call, descriptor)) && recorded) {
        record(S_ISDIR(status.st_mode) ? SYNC_FOLDER : SYNC, status.st_ino, 0, whole, NULL, NULL, 0);
    }
    unlock();
    return result;
}

int fsync(int descriptor) { return do_sync(descriptor, SYS_fsync); }
int fdatasync(int descriptor) { return do_sync(descriptor, SYS_fdatasync); }

static int do_rename(int from, const char *path, int to, const char *other, unsigned flags) {
    char whole[OWN_PATH], target[OWN_PATH];
    int leaves = found(from, path, whole), arrives = found(to, other, target);
    if (!leaves && !arrives) return syscall(SYS_renameat2, from, path, to, other, flags);
    if (!leaves || !arrives) { errno = EXDEV; return -1; }
    lock();
    int result = -1;
    if (meet(RENAME, 0) != PASS) failed();
    else if (!(result = syscall(SYS_renameat2, from, path, to, other, flags)))
        record(flags & RENAME_EXCHANGE ? EXCHANGE : RENAME, 0, 0, whole, target, NULL, 0);
    unlock();
    return result;
}

int rename(const char *path, const char *other) { return do_rename(AT_FDCWD, path, AT_FDCWD, other, 0); }
int renameat(int from, const char *path, int to, const char *other) { return do_rename(from, path, to, other, 0); }
int renameat2(int from, const char *path, int to, const char *other, unsigned flags) {
    return do_rename(from, path, to, other, flags);
}

static int do_unlink(int folder, const char *path, int flags) {
    char whole[OWN_PATH];
    if (!found(folder, path, whole)) return syscall(SYS_unlinkat, folder, path, flags);
    lock();
    int result = -1;
    struct stat status;
    if (!lstat(whole, &status) && meet(UNLINK, 1) != PASS) failed();
    else if (!(result = syscall(SYS_unlinkat, folder, path, flags)) && !shared_memory(whole))
        record(flags & AT_REMOVEDIR ? RMDIR : UNLINK, 0, 0, whole, NULL, NULL, 0);
    unlock();
    return result;
}

int unlink(const char *path) { return do_unlink(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char *path, int flags) { return do_unlink(folder, path, flags); }
int rmdir(const char *path) { return do_unlink(AT_FDCWD, path, AT_REMOVEDIR); }

static int do_mkdir(int folder, const char *path, mode_t mode) {
    char whole[OWN_PATH];
    if (!found(folder, path, whole)) return syscall(SYS_mkdirat, folder, path, mode);
    lock();
    int result = -1;
    struct stat status;
    if (lstat(whole, &status) && meet(MKDIR, 0) != PASS) failed();
    else if (!(result = syscall(SYS_mkdirat, folder, path, mode))) record(MKDIR, 0, 0, whole, NULL, NULL, 0);
    unlock();
    return result;
}

int mkdir(const char *path, mode_t mode) { return do_mkdir(AT_FDCWD, path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { return do_mkdir(folder, path, mode); }

static int do_link(int from, const char *path, int to, const char *other, int flags) {
    char whole[OWN_PATH], target[OWN_PATH];
    int leaves = found(from, path, whole), arrives = found(to, other, target);
    if (!arrives) return syscall(SYS_linkat, from, path, to, other, flags);
    if (!leaves) { errno = EXDEV; return -1; }
    lock();
    int result = -1;
    if (meet(LINK, 0) != PASS) failed();
    else if (!(result = syscall(SYS_linkat, from, path, to, other, flags)))
        record(LINK, 0, 0, whole, target, NULL, 0);
    unlock();
    return result;
}

int link(const char *path, const char *other) { return do_link(AT_FDCWD, path, AT_FDCWD, other, 0); }
int linkat(int from, const char *path, int to, const char *other, int flags) {
    return do_link(from, path, to, other, flags);
}
