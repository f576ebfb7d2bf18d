/*
 * A real watchdog: /dev/watchdog, linux/watchdog.h.
 */
#ifndef VECHE_GUARD_GUARD_WATCHDOG_DEVICE_H
#define VECHE_GUARD_GUARD_WATCHDOG_DEVICE_H

#include "guard/guard_watchdog.h"

/* fd: where its file descriptor is kept, -1 at first; stays where it is. */
struct guard_watchdog_device guard_watchdog_device(int *fd);

#endif
