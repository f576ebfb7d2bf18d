"""A disk of its own for a node's Raft directory, which can be frozen."""

import contextlib
import os
import pathlib
import pwd
import subprocess


def run(*command):
    r = subprocess.run(command, capture_output=True, text=True, check=False)
    if r.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {r.stderr.strip()}")


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
