"""The settings: environment variables, each with a default. This is their only list."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from agent_roles_dagster.machine import memory

_SAMPLE = Path(__file__).parent / "sample" / "admin_roles"
_SAIL = "sail"
_LOCAL = re.compile(r"local(\[.*\])?")
_CLUSTERS = ("spark://", "k8s://", "yarn")
_OURS = "AGENT_ROLES_"
_SPARK_CONF = "AGENT_ROLES_SPARK_CONF_"
# Any name with one of these prefixes is allowed. The second is for the tests.
_ANY = (_SPARK_CONF, "AGENT_ROLES_TEST_")
NAMES = (
    "AGENT_ROLES_AUTOMATION",
    "AGENT_ROLES_CONNECTIONS",
    "AGENT_ROLES_DATABASE_URL",
    "AGENT_ROLES_FRESH_HOURS",
    "AGENT_ROLES_HOLD_MIN_PREVIOUS",
    "AGENT_ROLES_HOLD_MIN_REMOVALS",
    "AGENT_ROLES_HOLD_SHARE",
    "AGENT_ROLES_HOME",
    "AGENT_ROLES_KEEP_DAYS",
    "AGENT_ROLES_LANDING",
    "AGENT_ROLES_MEMORY_SHARE",
    "AGENT_ROLES_SETTLE_SECONDS",
    "AGENT_ROLES_SPARK_MASTER",
    "AGENT_ROLES_UI_URL",
    "AGENT_ROLES_WARN_GRANT_SHARE",
    "AGENT_ROLES_WARN_MIN_GRANTS",
    "AGENT_ROLES_WEBHOOK_URL",
)


class InvalidSetting(ValueError):
    """A setting's value can't be used. The text names the variable and the values it takes."""


@dataclass(frozen=True)
class Guard:
    """The limits beyond which a day is held or a warning is given. See `staging.guard`.

    Attributes:
        min_previous: a day without any assignment is held if the previous day had this many.
        min_removals, max_removed_share: a day is held if it would remove at least this many pairs,
            and more than this share (0 to 1) of the previous day's.
        min_grants, max_granted_share: a warning is given if a day newly assigns at least this many
            pairs, and more than this share of the previous day's number.
    """

    min_previous: int = 10
    min_removals: int = 100
    max_removed_share: float = 0.20
    min_grants: int = 100
    max_granted_share: float = 0.20


@dataclass(frozen=True)
class Settings:
    """All settings. `from_env` reads them.

    Attributes:
        landing: folder or URI under which each sync day has its folder.
        database_url: libpq URL of a PostgreSQL 14 or newer. None means the embedded server.
        home: folder of the embedded server's data and of caches.
        spark_master: what executes the Spark code: "sail", a master URL of Apache Spark, or
            sc://host:port for a Spark Connect server.
        spark_conf: further Spark settings, by their Spark names.
        memory_share: share of the machine's memory that Sail's pool may take, 0 to 1.
        connections: at most this many Spark tasks load into, or read from, PostgreSQL at once.
        guard: the limits beyond which a day is held.
        keep_days: the snapshots of this many newest days stay in staging. 0 keeps all.
        settle_seconds: a day without a manifest that lists its files has landed when nothing in
            its folder has changed for this many seconds.
        automation: whether landed days are run by themselves. The web interface can switch it.
        webhook_url: where notices are posted. None means only the log.
        ui_url: where the web interface is, for links to runs. None means no links.
        fresh_hours: a notice is given after this many hours without a newer day. 0 disables it.
    """

    landing: str
    database_url: str | None = field(repr=False)  # may hold a password
    home: Path
    spark_master: str = field(repr=False)  # a Spark Connect URL may hold a token
    spark_conf: Mapping[str, str] = field(repr=False)  # may hold secrets
    memory_share: float
    connections: int
    guard: Guard
    keep_days: int
    settle_seconds: float
    automation: bool
    webhook_url: str | None = field(repr=False)  # its path is a secret
    fresh_hours: float
    ui_url: str | None

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """The settings that the environment variables in `env` give.

        Raises:
            InvalidSetting: there is no such setting, or a value can't be used. Or the sample would
                go into a database of your own, or a cluster's tasks could not reach the database.
        """
        _require_known(env)
        home = env.get("AGENT_ROLES_HOME") or platformdirs.user_data_dir("agent-roles")
        settings = cls(
            landing=env.get("AGENT_ROLES_LANDING") or str(_SAMPLE),
            database_url=env.get("AGENT_ROLES_DATABASE_URL") or None,
            home=Path(home).expanduser().absolute(),
            spark_master=env.get("AGENT_ROLES_SPARK_MASTER") or _SAIL,
            spark_conf={
                # A variable's name can't have dots. Two underscores stand for one.
                "spark." + name.removeprefix(_SPARK_CONF).replace("__", "."): value
                for name, value in env.items()
                if name.startswith(_SPARK_CONF)
            },
            memory_share=_number(env, "AGENT_ROLES_MEMORY_SHARE", 0.5, least=0.01, most=1),
            connections=int(_number(env, "AGENT_ROLES_CONNECTIONS", 8, least=1)),
            guard=Guard(
                int(_number(env, "AGENT_ROLES_HOLD_MIN_PREVIOUS", Guard.min_previous, least=1)),
                int(_number(env, "AGENT_ROLES_HOLD_MIN_REMOVALS", Guard.min_removals, least=1)),
                _number(env, "AGENT_ROLES_HOLD_SHARE", Guard.max_removed_share, least=0, most=1),
                int(_number(env, "AGENT_ROLES_WARN_MIN_GRANTS", Guard.min_grants, least=1)),
                _number(env, "AGENT_ROLES_WARN_GRANT_SHARE", Guard.max_granted_share, least=0),
            ),
            keep_days=int(_number(env, "AGENT_ROLES_KEEP_DAYS", 0, least=0)),
            settle_seconds=_number(env, "AGENT_ROLES_SETTLE_SECONDS", 60.0, least=0),
            automation=_switch(env, "AGENT_ROLES_AUTOMATION"),
            webhook_url=_web_address(env, "AGENT_ROLES_WEBHOOK_URL"),
            fresh_hours=_number(env, "AGENT_ROLES_FRESH_HOURS", 36.0, least=0),
            ui_url=_web_address(env, "AGENT_ROLES_UI_URL"),
        )
        if settings.database_url and not env.get("AGENT_ROLES_LANDING"):
            raise InvalidSetting(
                "AGENT_ROLES_DATABASE_URL is set, but AGENT_ROLES_LANDING is not: the sample that"
                " comes with the package would be loaded into that database. Set"
                " AGENT_ROLES_LANDING to the folder or the URI where the dumps land"
            )
        if not (settings.is_sail or settings.is_jvm or settings.is_connect):
            raise InvalidSetting(
                "AGENT_ROLES_SPARK_MASTER: sail, sc://host:port, or one of Apache Spark's masters"
                " (local[*], spark://host:port, k8s://...) is expected"
            )
        if settings.is_cluster and settings.database_url is None:
            raise InvalidSetting(
                "AGENT_ROLES_SPARK_MASTER names a cluster, but AGENT_ROLES_DATABASE_URL is not set:"
                " the embedded PostgreSQL server can't be reached from other machines. Set"
                " AGENT_ROLES_DATABASE_URL to a server that this machine and the executors reach"
            )
        return settings

    @property
    def is_sample(self) -> bool:
        """Whether the dumps are the sample that comes with the package."""
        return self.landing == str(_SAMPLE)

    @property
    def is_sail(self) -> bool:
        """Whether Sail executes the Spark code, in the run's own process."""
        return self.spark_master == _SAIL

    @property
    def is_connect(self) -> bool:
        """Whether a Spark Connect server executes it."""
        return self.spark_master.startswith("sc://")

    @property
    def is_jvm(self) -> bool:
        """Whether Apache Spark's JVM runs on this machine, alone or as a cluster's driver."""
        return self._is_local or self.spark_master.startswith(_CLUSTERS)

    @property
    def _is_local(self) -> bool:
        return _LOCAL.fullmatch(self.spark_master) is not None

    @property
    def is_cluster(self) -> bool:
        """Whether Spark's tasks may run on other machines than this."""
        return not (self.is_sail or self._is_local)

    @property
    def engine_memory(self) -> int:
        """Bytes that Sail's pool may take."""
        return int(memory() * self.memory_share)


def _require_known(env: Mapping[str, str]) -> None:
    """Refuse a variable that nothing reads: it may be a misspelt setting."""
    for name in sorted(env):
        if name.startswith(_OURS) and name not in NAMES and not name.startswith(_ANY):
            (nearest,) = get_close_matches(name, NAMES, n=1, cutoff=0)
            raise InvalidSetting(f"{name}: there is no such setting. The nearest is {nearest}")


def _web_address(env: Mapping[str, str], name: str) -> str | None:
    """The address, as it is set. No message shows it, as it is a secret."""
    text = env.get(name) or None
    if text is not None and not _is_web_address(text):
        raise InvalidSetting(
            f"{name}: an address that begins with https:// is expected, without a user or a"
            " password before the host, and without blanks"
        )
    return text


def _is_web_address(text: str) -> bool:
    if not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and "@" not in parts.netloc
            and parts.port != 0  # Asking for it raises ValueError if it is no port.
        )
    except ValueError:
        return False


def _switch(env: Mapping[str, str], name: str) -> bool:
    text = env.get(name) or "off"
    if text not in ("on", "off"):
        raise InvalidSetting(f"{name}={text!r}: on or off is expected")
    return text == "on"


def _number(
    env: Mapping[str, str], name: str, default: float, least: float, most: float = 2**31 - 1
) -> float:
    text = env.get(name) or str(default)
    kind = float if isinstance(default, float) else int
    try:
        value = kind(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise InvalidSetting(f"{name}={text!r}: a number from {least} to {most} is expected")
    return value
