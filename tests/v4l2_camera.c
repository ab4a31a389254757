/* Cameras without hardware, below OpenCV: preloaded (LD_PRELOAD), this answers the system calls for
   /dev/videoN as the driver of a USB webcam (uvcvideo) does. v4l2_camera.py builds and steers it.

   All is in the folder $POSESTREAM_TEST_CAMERAS:
     dev/videoN                   the camera is plugged in while this file exists; it holds a line
                                  "MJPG 1280x720 30" for each mode, the default first, then words:
                                  "denied", "stalled", "slow SECONDS" (to open), "damaged EVERY"
     sys/...                      stands for /sys/class/video4linux
     pictures/MJPG-1280x720       what it films, again and again: 4 bytes of length and the bytes
     lock/videoN                  locked (flock) by whoever uses the camera: others get EBUSY
     log                          what the program asked for

   The file of a camera is read again at every frame, so that a test can pull, stop and plug it in
   while a program reads from it. The descriptor a program gets is an eventfd that counts filled
   buffers: select() and poll() need no help. The buffers lie in a memfd. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Looked up once: dlsym() takes the loader's lock, which a thread in dlopen() may hold for long. */
#define REAL(name)                                                                                 \
    ({ static typeof(&name) real; real ? real : (real = (typeof(&name))dlsym(RTLD_NEXT, #name)); })
#define MODES 16
#define BUFFERS 8
#define DESCRIPTORS 1024

struct mode { unsigned format, width, height, rate; };

struct script { /* what the file of a camera says */
    struct mode modes[MODES];
    int count, denied, stalled;
    unsigned damaged;
    double slow;
};

enum state { FREE, QUEUED, FILLED };
struct slot { enum state state; unsigned order; struct v4l2_buffer told; }; /* one buffer */

struct camera { /* one open descriptor */
    int fd, memory, lock, number, gone, streaming, buffers;
    struct mode mode;
    unsigned sequence, orders;
    struct slot slots[BUFFERS];
    char *pictures, *next, *end;
    pthread_t thread;
    pthread_mutex_t mutex;
};

static struct camera *cameras[DESCRIPTORS];

/* A path in the folder of the test; holds until the next call in this thread. */
static const char *below(const char *format, ...) {
    static __thread char path[4096];
    int length = snprintf(path, sizeof path, "%s/", getenv("POSESTREAM_TEST_CAMERAS"));
    va_list given;
    va_start(given, format);
    vsnprintf(path + length, sizeof path - length, format, given);
    va_end(given);
    return path;
}

/* The number of a path that is a camera's, else -1. */
static int camera_of(const char *path) {
    int number, length = 0;
    int fits = path && sscanf(path, "/dev/video%d%n", &number, &length) == 1;
    return fits && !path[length] ? number : -1;
}

/* Where a path that describes cameras is in truth; others as they are. */
static const char *moved(const char *path) {
    static const char about[] = "/sys/class/video4linux";
    if (path && !strcmp(path, "/dev")) return below("dev");
    int fits = path && !strncmp(path, about, sizeof about - 1);
    return fits ? below("sys%s", path + sizeof about - 1) : path;
}

/* Tell the test what was asked for; a mode where there is one. */
static void note(struct camera *c, const char *what, const struct mode *m) {
    FILE *log = fopen(below("log"), "ae");
    fprintf(log, "video%d %s", c->number, what);
    if (m && m->format) fprintf(log, " %.4s %ux%u", (char *)&m->format, m->width, m->height);
    if (m && m->rate) fprintf(log, " %u", m->rate);
    fputc('\n', log);
    fclose(log);
}

/* Read the file of a camera; 0 when it is not plugged in. */
static int look(int number, struct script *s) {
    char word[16];
    struct mode m;
    memset(s, 0, sizeof *s);
    FILE *file = fopen(below("dev/video%d", number), "re");
    if (!file) return 0;
    while (fscanf(file, "%15s", word) == 1) {
        if (!strcmp(word, "denied")) s->denied = 1;
        else if (!strcmp(word, "stalled")) s->stalled = 1;
        else if (!strcmp(word, "slow") && fscanf(file, "%lf", &s->slow) == 1) continue;
        else if (!strcmp(word, "damaged") && fscanf(file, "%u", &s->damaged) == 1) continue;
        else if (s->count < MODES && fscanf(file, "%ux%u %u", &m.width, &m.height, &m.rate) == 3) {
            memcpy(&m.format, word, 4);
            s->modes[s->count++] = m;
        } else abort(); /* a mistake in the test */
    }
    fclose(file);
    return 1;
}

static int fails(int error) {
    errno = error;
    return -1;
}

static int open_camera(int number) {
    struct script s;
    if (!look(number, &s)) return fails(ENOENT);
    if (s.denied) return fails(EACCES);
    usleep((useconds_t)(1e6 * s.slow));
    struct camera *c = calloc(1, sizeof *c);
    c->number = number;
    c->mode = s.modes[0];
    c->lock = -1;
    c->fd = eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE | EFD_CLOEXEC);
    c->memory = memfd_create("buffers", MFD_CLOEXEC);
    pthread_mutex_init(&c->mutex, NULL);
    if (c->fd >= DESCRIPTORS) abort();
    note(c, "open", NULL);
    cameras[c->fd] = c;
    return c->fd;
}

static void let_go(struct camera *c) {
    if (c->lock >= 0) REAL(close)(c->lock);
    c->lock = -1;
}

/* One program at a time may set a camera up. */
static int taken(struct camera *c) {
    if (c->lock >= 0) return 0;
    c->lock = REAL(open)(below("lock/video%d", c->number), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (!flock(c->lock, LOCK_EX | LOCK_NB)) return 0;
    let_go(c);
    return 1;
}

static void load_pictures(struct camera *c) {
    struct mode m = c->mode;
    struct stat about;
    const char *path = below("pictures/%.4s-%ux%u", (char *)&m.format, m.width, m.height);
    FILE *file = fopen(path, "re");
    if (!file || fstat(fileno(file), &about)) abort();
    c->pictures = c->next = malloc(about.st_size);
    c->end = c->pictures + fread(c->pictures, 1, about.st_size, file);
    fclose(file);
}

/* Bytes of a buffer: whole pages, as mmap wants them. */
static unsigned room(struct camera *c) {
    return (c->mode.width * c->mode.height * 2 + 4095) / 4096 * 4096;
}

static void ready(struct camera *c) {
    unsigned long long one = 1;
    if (write(c->fd, &one, sizeof one) != sizeof one) abort();
}

/* The buffer that has been in this state for longest; NULL if there is none. */
static struct slot *oldest(struct camera *c, enum state state) {
    struct slot *found = NULL;
    for (struct slot *one = c->slots; one < c->slots + c->buffers; one++)
        if (one->state == state && (!found || one->order < found->order)) found = one;
    return found;
}

/* Fill the buffer queued first; without one the frame is lost, as in a driver. */
static void film(struct camera *c, struct script *s) {
    unsigned length, sequence = c->sequence++;
    char *bytes = c->next + 4;
    memcpy(&length, c->next, 4);
    c->next = bytes + length == c->end ? c->pictures : bytes + length;
    struct slot *to = oldest(c, QUEUED);
    if (!to) return;
    if (s->damaged && sequence % s->damaged == s->damaged - 1) length /= 2, bytes += length;
    off_t offset = (to - c->slots) * (off_t)room(c);
    if (pwrite(c->memory, bytes, length, offset) != length) abort();
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct v4l2_buffer *b = &to->told;
    b->bytesused = length, b->length = room(c), b->m.offset = offset, b->sequence = sequence;
    b->timestamp = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    b->flags = V4L2_BUF_FLAG_MAPPED | V4L2_BUF_FLAG_DONE | V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    to->state = FILLED, to->order = c->orders++;
    ready(c);
}

static void *drive(void *given) {
    struct camera *c = given;
    struct script s;
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    while (c->streaming) {
        next.tv_nsec += 1000000000 / c->mode.rate;
        if (next.tv_nsec >= 1000000000) next.tv_sec++, next.tv_nsec -= 1000000000;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
        int there = look(c->number, &s);
        pthread_mutex_lock(&c->mutex);
        if (!there && !c->gone) c->gone = 1, ready(c); /* for good */
        if (!c->gone && !s.stalled) film(c, &s);
        pthread_mutex_unlock(&c->mutex);
    }
    return NULL;
}

static void start(struct camera *c) {
    sigset_t all, before; /* the program's signals are for its own threads */
    sigfillset(&all);
    load_pictures(c);
    c->streaming = 1;
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&c->thread, NULL, drive, c)) abort();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void stop(struct camera *c) {
    unsigned long long count;
    memset(c->slots, 0, sizeof c->slots);
    if (!c->streaming) return;
    c->streaming = 0;
    pthread_join(c->thread, NULL);
    free(c->pictures);
    memset(c->slots, 0, sizeof c->slots);
    while (!c->gone && read(c->fd, &count, sizeof count) > 0) continue;
}

static unsigned apart(unsigned a, unsigned b) { return a > b ? a - b : b - a; }

/* As drivers do: the pixel format if there is one of it, else the default; the nearest size, the
   nearest rate. rate 0: as fast as that size goes. */
static struct mode nearest(struct script *s, struct mode wish) {
    struct mode best = s->modes[0];
    unsigned long least = -1;
    int known = 0;
    for (int i = 0; i < s->count; i++) known |= s->modes[i].format == wish.format;
    for (int i = 0; i < s->count; i++) {
        struct mode m = s->modes[i];
        if (m.format != (known ? wish.format : best.format)) continue;
        unsigned long size = apart(m.width, wish.width) + apart(m.height, wish.height);
        unsigned long far = size * 1000 + (wish.rate ? apart(m.rate, wish.rate) : 999 - m.rate);
        if (far < least) least = far, best = m;
    }
    return best;
}

/* What S_FMT and S_PARM do; 0 in a wish stands for what is set. */
static int choose(struct camera *c, struct script *s, const char *what, struct mode wish) {
    note(c, what, &wish);
    if (c->streaming || (wish.format && c->buffers) || taken(c)) return fails(EBUSY);
    struct mode now = {c->mode.format, c->mode.width, c->mode.height, wish.rate};
    c->mode = nearest(s, wish.format ? wish : now);
    return 0;
}

static void tell_format(struct camera *c, struct v4l2_pix_format *f) {
    *f = (struct v4l2_pix_format){c->mode.width, c->mode.height, c->mode.format};
    f->field = V4L2_FIELD_NONE, f->colorspace = V4L2_COLORSPACE_SRGB, f->sizeimage = room(c);
    f->bytesperline = c->mode.format == V4L2_PIX_FMT_YUYV ? c->mode.width * 2 : 0;
}

static int request(struct camera *c, struct v4l2_requestbuffers *r) {
    if (r->memory != V4L2_MEMORY_MMAP) return fails(EINVAL);
    if (taken(c)) return fails(EBUSY);
    stop(c);
    c->buffers = r->count = r->count < BUFFERS ? r->count : BUFFERS;
    if (ftruncate(c->memory, (off_t)c->buffers * room(c))) abort();
    if (!c->buffers) let_go(c);
    return 0;
}

static int queue(struct camera *c, struct v4l2_buffer *b) {
    if ((int)b->index >= c->buffers || c->slots[b->index].state != FREE) return fails(EINVAL);
    pthread_mutex_lock(&c->mutex);
    c->slots[b->index] = (struct slot){QUEUED, c->orders++, *b};
    pthread_mutex_unlock(&c->mutex);
    return 0;
}

static int dequeue(struct camera *c, struct v4l2_buffer *b) {
    unsigned long long count;
    pthread_mutex_lock(&c->mutex);
    struct slot *from = oldest(c, FILLED);
    int error = c->gone ? ENODEV : !c->streaming ? EINVAL : !from ? EAGAIN : 0;
    if (!error) {
        *b = from->told;
        from->state = FREE;
        if (read(c->fd, &count, sizeof count) != sizeof count) abort();
    }
    pthread_mutex_unlock(&c->mutex);
    return error ? fails(error) : 0;
}

static int answer(struct camera *c, unsigned long what, void *given) {
    struct script s;
    struct v4l2_capability *about = given;
    struct v4l2_captureparm *p = &((struct v4l2_streamparm *)given)->parm.capture;
    struct v4l2_fract *each = &p->timeperframe;
    struct v4l2_pix_format *f = &((struct v4l2_format *)given)->fmt.pix;
    struct v4l2_buffer *b = given;
    struct mode wish = {0};
    c->gone |= !look(c->number, &s);
    if (c->gone) return fails(ENODEV);
    switch (what) {
    case VIDIOC_QUERYCAP:
        memset(about, 0, sizeof *about);
        strcpy((char *)about->driver, "uvcvideo");
        about->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        about->capabilities = about->device_caps | V4L2_CAP_DEVICE_CAPS;
        return 0;
    case VIDIOC_S_FMT:
        wish = (struct mode){f->pixelformat, f->width, f->height, 0};
        if (choose(c, &s, "S_FMT", wish)) return -1;
        /* fall through */
    case VIDIOC_G_FMT: return tell_format(c, f), 0;
    case VIDIOC_S_PARM:
        wish.rate = each->numerator ? each->denominator / each->numerator : 0;
        if (choose(c, &s, "S_PARM", wish)) return -1;
        /* fall through */
    case VIDIOC_G_PARM:
        p->capability = V4L2_CAP_TIMEPERFRAME;
        *each = (struct v4l2_fract){1, c->mode.rate};
        return 0;
    case VIDIOC_REQBUFS: return request(c, given);
    case VIDIOC_QUERYBUF:
        if ((int)b->index >= c->buffers) return fails(EINVAL);
        b->length = room(c), b->m.offset = b->index * room(c);
        return 0;
    case VIDIOC_QBUF: return queue(c, given);
    case VIDIOC_DQBUF: return dequeue(c, given);
    case VIDIOC_STREAMON:
        if (taken(c)) return fails(EBUSY);
        if (c->streaming) return 0;
        note(c, "STREAMON", &c->mode);
        return start(c), 0;
    case VIDIOC_STREAMOFF: return stop(c), 0;
    }
    return fails(ENOTTY);
}

/* What the C library has under these names, with cameras added. */

static struct camera *camera_at(int fd) {
    return fd >= 0 && fd < DESCRIPTORS ? cameras[fd] : NULL;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...) {                                                   \
        va_list given;                                                                             \
        va_start(given, flags);                                                                    \
        mode_t mode = va_arg(given, mode_t);                                                       \
        va_end(given);                                                                             \
        int number = camera_of(path);                                                              \
        return number >= 0 ? open_camera(number) : REAL(name)(moved(path), flags, mode);           \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    struct camera *c = camera_at(fd);
    if (c) {
        cameras[fd] = NULL;
        stop(c);
        let_go(c);
        REAL(close)(c->memory);
        note(c, "close", NULL);
        free(c);
    }
    return REAL(close)(fd);
}

int ioctl(int fd, unsigned long what, ...) {
    va_list given;
    va_start(given, what);
    void *argument = va_arg(given, void *);
    va_end(given);
    struct camera *c = camera_at(fd);
    return c ? answer(c, what, argument) : REAL(ioctl)(fd, what, argument);
}

#define MAP(name, offset_t)                                                                        \
    void *name(void *at, size_t length, int access, int flags, int fd, offset_t offset) {          \
        struct camera *c = camera_at(fd);                                                          \
        return REAL(name)(at, length, access, flags, c ? c->memory : fd, offset);                  \
    }
MAP(mmap, off_t)
MAP(mmap64, off64_t)

DIR *opendir(const char *path) { return REAL(opendir)(moved(path)); }

int access(const char *path, int how) {
    struct script s;
    int number = camera_of(path);
    if (number < 0) return REAL(access)(moved(path), how);
    return !look(number, &s) ? fails(ENOENT) : s.denied ? fails(EACCES) : 0;
}
