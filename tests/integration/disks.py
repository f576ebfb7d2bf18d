"""Disks that misbehave under a node: frozen, full, failing."""

import contextlib
import os
import pathlib
import pwd
import subprocess

from veche import BUILD


def run(*command):
    r = subprocess.run(command, capture_output=True, text=True, check=False)
    if r.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {r.stderr.strip()}")


def end_on_disks(nodes, disks):
    """Kills these nodes, whichever of their disks is frozen."""
    for disk in disks:
        with contextlib.suppress(RuntimeError):
            disk.thaw()  # Or nobody can be killed.
    for node in nodes:
        with contextlib.suppress(Exception):
            node.kill()


class Disk:
    """A loop-mounted ext4 image. Whoever writes to it while it is frozen hangs in the
    kernel and can not even be killed, so `close` thaws first."""

    def __init__(self, directory, name, megabytes=64):
        self.image = pathlib.Path(directory) / f"{name}.img"
        self.place = pathlib.Path(directory) / name
        self.frozen = self.mounted = False
        with open(self.image, "wb") as f:
            f.truncate(megabytes << 20)
        run("mkfs.ext4", "-q", "-F", self.image)
        self.place.mkdir()
        try:
            self.mounted = True
            run("mount", "-o", "loop", self.image, self.place)  # Its device goes with it.
            if os.geteuid() == 0:
                user = pwd.getpwnam("postgres")
                os.chown(self.place, user.pw_uid, user.pw_gid)
        except BaseException:
            self.close()
            raise

    def freeze(self):
        self.frozen = True
        run("fsfreeze", "--freeze", self.place)

    def thaw(self):
        if self.frozen:
            run("fsfreeze", "--unfreeze", self.place)
            self.frozen = False

    def close(self):
        """After the last process that uses it has ended."""
        with contextlib.suppress(RuntimeError):
            self.thaw()
        if self.mounted:
            with contextlib.suppress(RuntimeError):
                run("umount", self.place)
            self.mounted = False
        self.image.unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(place, megabytes=16):
    """A file system that is easily full; away when nobody uses it any more."""
    place.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", place)
    try:
        owner = os.stat(place.parent)
        os.chown(place, owner.st_uid, owner.st_gid)
        yield place
    finally:
        subprocess.run(["umount", place], check=False)


def fill(directory):
    """Not a byte is left."""
    with open(directory / "filler", "wb", buffering=0) as f, contextlib.suppress(OSError):
        while True:
            f.write(b"x" * 65536)
    with open(directory / "filler2", "wb", buffering=0) as f, contextlib.suppress(OSError):
        while True:
            f.write(b"x" * 512)


class Faults:
    """Disk errors in the agent of one node, switched on and off (tests/lib/disk_faults.c)."""

    def __init__(self, node):
        self.path = node.dir / "faults"
        node.env = {
            **node.env,
            "LD_PRELOAD": str(BUILD / "tests/lib/libveche_disk_faults.so"),
            "VECHE_DISK_FAULTS": str(self.path),
        }

    def set(self, *rules):
        new = self.path.with_suffix(".new")
        new.write_text("".join(rule + "\n" for rule in rules))
        new.chmod(0o644)
        new.rename(self.path)

    def clear(self):
        self.path.unlink(missing_ok=True)
