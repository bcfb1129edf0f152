"""The account that the server runs under, and its files."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

if sys.platform != "win32":
    import pwd


class EmbeddedPostgresError(RuntimeError):
    """The embedded server can't be used. The text says why, and what to do."""

    def __init__(self, what: str, log: str = "") -> None:
        tail = "".join(f"\n    {line}" for line in log.splitlines()[-5:])
        super().__init__(
            f"The embedded PostgreSQL server {what}; to use a server of your own, "
            f"set AGENT_ROLES_DATABASE_URL.{tail}"
        )


class Account(NamedTuple):
    uid: int
    gid: int

    def may_enter(self, path: Path) -> bool:
        """Whether it may enter `path` and each folder above it, as far as they exist."""
        for place in (path, *path.parents):
            if place.exists():
                status = place.stat()
                mine = (status.st_uid == self.uid, status.st_gid == self.gid, True)
                if not status.st_mode & (0o100, 0o010, 0o001)[mine.index(True)]:
                    return False
        return True


def run_program(
    programs: Path,
    command: list[str],
    account: Account | None,
    cwd: Path,
    text: str = "",
    pass_fds: Sequence[int] = (),
) -> None:
    done = subprocess.run(
        [programs / command[0], *command[1:]],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        cwd=cwd,
        env=environment_of(),
        pass_fds=pass_fds,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        check=False,
    )
    if done.returncode:
        log = server_log(cwd) if command[0] == "pg_ctl" else ""
        raise EmbeddedPostgresError(f"failed at {command[0]}", log or done.stdout)


def environment_of() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def account_of(folder: Path) -> Account | None:
    """The account to run the server as. None means the account of this process."""
    if os.geteuid() != 0:
        return None
    if (folder / "data").exists():
        status = (folder / "data").stat()
        return Account(status.st_uid, status.st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedPostgresError("needs an account 'nobody' when root starts it") from None
    return Account(nobody.pw_uid, nobody.pw_gid)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents. The server may enter the folders that this makes."""
    if not folder.exists():
        make_folder(folder.parent)
        try:
            folder.mkdir()
        except FileExistsError:
            return  # Another process did the same just now.
        folder.chmod(0o755 if os.geteuid() == 0 else 0o700)


def make_private(folder: Path, account: Account | None) -> None:
    folder.mkdir(mode=0o700)
    if account:
        os.chown(folder, account.uid, account.gid)


def open_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def server_log(data: Path) -> str:
    try:
        return (data / "server.log").read_text(errors="replace")
    except OSError:
        return ""


def digest_of(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
