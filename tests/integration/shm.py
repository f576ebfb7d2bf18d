"""Shared memory of killed servers."""

import ctypes
import functools
import os
import subprocess
import warnings

OUTSIDE = os.readlink("/proc/self/ns/ipc"), os.stat("/dev/shm").st_dev
CLONE_NEWNS, CLONE_NEWIPC = 0x00020000, 0x08000000


@functools.cache  # Once is enough.
def private_memory():
    """Shared memory of its own for every process with a `Cluster`. A killed PostgreSQL
    leaves its segments to the next start in the same directory; a test removes the
    directory. The machine's 4096 identifiers would be used up after some days of tests."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS | CLONE_NEWIPC) != 0:
        reason = os.strerror(ctypes.get_errno())
        warnings.warn(f"shared memory of killed servers stays behind, see ipcs -m and /dev/shm: {reason}")
        return
    subprocess.run(("mount", "--make-rprivate", "/"), check=True)
    subprocess.run(("mount", "-t", "tmpfs", "-o", "mode=1777", "shm", "/dev/shm"), check=True)
