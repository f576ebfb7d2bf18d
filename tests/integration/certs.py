"""Certificates for tests: a CA in a directory, and what it signs."""

import os
import pwd
import subprocess


class Authority:
    """A CA in a directory, and what it signs."""

    def __init__(self, directory, name="ca"):
        self.dir = directory
        self.cert, self.key = directory / f"{name}.pem", directory / f"{name}.key"
        self.count = 0
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-days", "30", "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.cert)

    def sign(self, name, clock=None, san=None, usage=None, subject="a node", password=None):
        """Paths of certificate and key for that node; `clock` is what faketime takes, `usage`
        what the certificate is for, and nothing else, `password` the key's."""
        self.count += 1
        base = self.dir / f"{self.cert.stem}-{name}-{self.count}"
        key, request, cert, extensions = (base.with_suffix(s) for s in (".key", ".csr", ".pem",
                                                                        ".ext"))
        text = f"subjectAltName={san or 'DNS:' + name}\n"
        text += f"extendedKeyUsage={usage}\n" if usage else ""
        extensions.write_text(text, encoding="utf-8")
        secret = ("-passout", f"pass:{password}") if password else ("-nodes",)
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", *secret, "-subj",
                f"/CN={subject}", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-days", "2",
                "-set_serial", str(self.count), "-extfile", extensions, "-out", cert, clock=clock)
        own(key)
        return cert, key


def openssl(*args, clock=None):
    command = ["openssl", *map(str, args)]
    if clock:
        command = ["faketime", "-f", clock, *command]
    r = subprocess.run(command, capture_output=True, text=True, check=False)
    assert r.returncode == 0, r.stderr


def own(path):
    path.chmod(0o600)
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(path, user.pw_uid, user.pw_gid)
