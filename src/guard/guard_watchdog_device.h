/*
 * A real watchdog: /dev/watchdog, linux/watchdog.h. And one for tests, as Patroni has it
 * (driver: testing): a FIFO, whose reader is told what a device would be told, as text:
 * "Ctimeout=5" and a newline, "1" for each feed, "V" when it is stopped.
 */
#ifndef VECHE_GUARD_GUARD_WATCHDOG_DEVICE_H
#define VECHE_GUARD_GUARD_WATCHDOG_DEVICE_H

#include "guard/guard_watchdog.h"

/* fd: where its file descriptor is kept, -1 at first; stays where it is. */
struct guard_watchdog_device guard_watchdog_device(int *fd, bool is_testing);

#endif
