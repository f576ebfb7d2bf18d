/*
 * See guard_watchdog_device.h, and Documentation/watchdog/watchdog-api.rst of the kernel.
 */
#include "guard/guard_watchdog_device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/* Opening it starts it. 'V' before the end says that it is meant. */
static void device_stop(void *data)
{
    int *fd = data;

    if (*fd >= 0) {
        ssize_t n = write(*fd, "V", 1);

        (void)n; /* If it does not take that, it resets the machine: nothing can be done. */
        (void)close(*fd);
        *fd = -1;
    }
}

/* The device may round: what it will really do is asked. */
static int set_timeout(int fd, uint32_t timeout_s, struct err *err)
{
    int timeout = (int)timeout_s;

    if (ioctl(fd, WDIOC_SETTIMEOUT, &timeout) != 0) {
        return err_set_errno(err, errno, "watchdog: setting a timeout of %u s", timeout_s);
    }
    if (ioctl(fd, WDIOC_GETTIMEOUT, &timeout) != 0) {
        return err_set_errno(err, errno, "watchdog: asking for its timeout");
    }
    return timeout <= (int)timeout_s
               ? 0
               : err_set(err, "watchdog: its shortest timeout is %d s, longer than %u s", timeout,
                         timeout_s);
}

static int device_start(void *data, const char *path, uint32_t timeout_s, bool *ret_can_stop,
                        struct err *err)
{
    struct watchdog_info info = {0};
    int *fd = data;

    if (*fd < 0) {
        *fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    }
    if (*fd < 0) {
        return err_set_errno(err, errno, "watchdog: opening %s", path);
    }
    if (ioctl(*fd, WDIOC_GETSUPPORT, &info) != 0) {
        (void)err_set_errno(err, errno, "%s is no watchdog", path);
        device_stop(data);
        return -1;
    }
    if (set_timeout(*fd, timeout_s, err) != 0) {
        device_stop(data);
        return -1;
    }
    *ret_can_stop = (info.options & WDIOF_MAGICCLOSE) != 0;
    return 0;
}

static int device_feed(void *data)
{
    const int *fd = data;

    return ioctl(*fd, WDIOC_KEEPALIVE, 0) == 0 ? 0 : -1;
}

/* ---- For tests ---- */

static int fifo_start(void *data, const char *path, uint32_t timeout_s, bool *ret_can_stop,
                      struct err *err)
{
    int *fd = data;
    char text[32];
    int n = snprintf(text, sizeof(text), "Ctimeout=%u\n", timeout_s);
    struct stat st;

    if (*fd < 0) {
        *fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK); /* Fails without a reader. */
    }
    if (*fd < 0) {
        return err_set_errno(err, errno, "watchdog: opening %s", path);
    }
    if (fstat(*fd, &st) != 0 || !S_ISFIFO(st.st_mode)) {
        device_stop(data);
        return err_set(err, "%s is no FIFO", path);
    }
    if (write(*fd, text, (size_t)n) != n) {
        (void)err_set_errno(err, errno, "watchdog: writing to %s", path);
        device_stop(data);
        return -1;
    }
    *ret_can_stop = true;
    return 0;
}

static int fifo_feed(void *data)
{
    const int *fd = data;

    return write(*fd, "1", 1) == 1 ? 0 : -1;
}

struct guard_watchdog_device guard_watchdog_device(int *fd, bool is_testing)
{
    struct guard_watchdog_device device = {device_start, device_feed, device_stop, fd};

    if (is_testing) {
        device.start = fifo_start;
        device.feed = fifo_feed;
    }
    *fd = -1;
    return device;
}
