"""The settings: environment variables, each with a default."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent_roles_dagster.settings import NAMES, Guard, InvalidSetting, Settings
from tests.docs import CHECKOUT

NUMBERS = {
    "AGENT_ROLES_MEMORY_SHARE": 0.01,
    "AGENT_ROLES_CONNECTIONS": 1,
    "AGENT_ROLES_HOLD_MIN_PREVIOUS": 1,
    "AGENT_ROLES_HOLD_MIN_REMOVALS": 1,
    "AGENT_ROLES_HOLD_SHARE": 0,
    "AGENT_ROLES_WARN_MIN_GRANTS": 1,
    "AGENT_ROLES_WARN_GRANT_SHARE": 0,
    "AGENT_ROLES_KEEP_DAYS": 0,
    "AGENT_ROLES_SETTLE_SECONDS": 0,
    "AGENT_ROLES_FRESH_HOURS": 0,
}
FRACTIONS = {
    "AGENT_ROLES_MEMORY_SHARE",
    "AGENT_ROLES_HOLD_SHARE",
    "AGENT_ROLES_WARN_GRANT_SHARE",
    "AGENT_ROLES_SETTLE_SECONDS",
    "AGENT_ROLES_FRESH_HOURS",
}


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Settings.from_env({})
    assert settings.guard == Guard(10, 100, 0.20, 100, 0.20)
    assert settings.connections == 8
    assert settings.keep_days == 0
    assert settings.database_url is None
    assert not settings.automation
    assert settings.webhook_url is None
    assert settings.spark_master == "sail"
    assert settings.spark_conf == {}
    assert settings.home.is_absolute()
    assert Path(settings.landing).is_dir(), "the sample that comes with the package"


def test_an_empty_variable_is_like_none() -> None:
    names = ("LANDING", "DATABASE_URL", "HOME", "SPARK_MASTER", "AUTOMATION", "WEBHOOK_URL")
    env = {**{f"AGENT_ROLES_{name}": "" for name in names}, **dict.fromkeys(NUMBERS, "")}
    assert Settings.from_env(env) == Settings.from_env({})


def test_every_setting_can_be_given() -> None:
    settings = Settings.from_env(
        {
            "AGENT_ROLES_LANDING": "s3://bucket/admin_roles",
            "AGENT_ROLES_DATABASE_URL": "postgresql://somewhere/roles",
            "AGENT_ROLES_HOME": "/var/lib/agent-roles",
            "AGENT_ROLES_SPARK_MASTER": "sc://spark:15002",
            "AGENT_ROLES_MEMORY_SHARE": "0.25",
            "AGENT_ROLES_CONNECTIONS": "3",
            "AGENT_ROLES_HOLD_MIN_PREVIOUS": "5",
            "AGENT_ROLES_HOLD_MIN_REMOVALS": "7",
            "AGENT_ROLES_HOLD_SHARE": "0.35",
            "AGENT_ROLES_WARN_MIN_GRANTS": "50",
            "AGENT_ROLES_WARN_GRANT_SHARE": "1.5",
            "AGENT_ROLES_KEEP_DAYS": "30",
            "AGENT_ROLES_SETTLE_SECONDS": "2.5",
            "AGENT_ROLES_AUTOMATION": "on",
            "AGENT_ROLES_WEBHOOK_URL": "https://hooks.example/T0/secret",
            "AGENT_ROLES_FRESH_HOURS": "30",
            "AGENT_ROLES_UI_URL": "https://dagster.example.org",
        }
    )
    assert settings == Settings(
        landing="s3://bucket/admin_roles",
        database_url="postgresql://somewhere/roles",
        home=Path("/var/lib/agent-roles"),
        spark_master="sc://spark:15002",
        spark_conf={},
        memory_share=0.25,
        connections=3,
        guard=Guard(5, 7, 0.35, 50, 1.5),
        keep_days=30,
        settle_seconds=2.5,
        automation=True,
        webhook_url="https://hooks.example/T0/secret",
        fresh_hours=30,
        ui_url="https://dagster.example.org",
    )
    assert "secret" not in repr(settings)


@pytest.mark.parametrize("master", ["spark://master:7077", "sc://spark:15002", "k8s://https://k"])
def test_a_cluster_needs_a_database_that_it_can_reach(master: str) -> None:
    env = {"AGENT_ROLES_SPARK_MASTER": master, "AGENT_ROLES_LANDING": "s3://bucket/admin_roles"}
    with pytest.raises(InvalidSetting, match="AGENT_ROLES_DATABASE_URL"):
        Settings.from_env(env)
    env["AGENT_ROLES_DATABASE_URL"] = "postgresql://db/roles"
    assert Settings.from_env(env).is_cluster
    assert not Settings.from_env({"AGENT_ROLES_SPARK_MASTER": "local[2,4]"}).is_cluster


def test_no_secret_is_shown_with_the_settings() -> None:
    settings = Settings.from_env(
        {
            "AGENT_ROLES_DATABASE_URL": "postgresql://user:secret@db/roles",
            "AGENT_ROLES_LANDING": "/data/admin_roles",
            "AGENT_ROLES_SPARK_MASTER": "sc://spark:443/;token=secret",
            "AGENT_ROLES_SPARK_CONF_hadoop__key": "secret",
            "AGENT_ROLES_WEBHOOK_URL": "https://chat.example.org/hooks/secret",
        }
    )
    assert "secret" not in repr(settings)


def test_the_home_may_start_with_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    settings = Settings.from_env({"AGENT_ROLES_HOME": "~/roles"})
    assert settings.home == Path("/home/somebody/roles")


def test_spark_settings_have_two_underscores_for_each_dot() -> None:
    prefix = "AGENT_ROLES_SPARK_CONF_"
    settings = Settings.from_env(
        {
            f"{prefix}sql__shuffle__partitions": "7",
            f"{prefix}hadoop__fs__s3a__access.key": "k",
            f"{prefix}my_own": "a__b",
            "SPARK_CONF_other": "x",
        }
    )
    assert settings.spark_conf == {
        "spark.sql.shuffle.partitions": "7",
        "spark.hadoop.fs.s3a.access.key": "k",
        "spark.my_own": "a__b",
    }


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "text", ["abc", " ", "-1", "nan", "inf", "-inf", "1e400", "9" * 5000, "8x"], ids=lambda t: t[:6]
)
def test_what_is_no_number_or_out_of_range_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        Settings.from_env({name: text})
    assert name in str(refused.value)
    assert f"from {NUMBERS[name]} " in str(refused.value)


@pytest.mark.parametrize("name", [name for name in NUMBERS if name not in FRACTIONS])
def test_a_count_is_no_fraction(name: str) -> None:
    with pytest.raises(InvalidSetting):
        Settings.from_env({name: "1.5"})


@pytest.mark.parametrize(("name", "least"), NUMBERS.items())
def test_the_least_allowed_value_is_allowed(name: str, least: int) -> None:
    Settings.from_env({name: str(least)})


@pytest.mark.parametrize("text", ["20", "1.01", "100"])
def test_a_share_beyond_the_whole_is_refused(text: str) -> None:
    # Somebody who means 20 % and writes 20 would otherwise have no guard at all.
    with pytest.raises(InvalidSetting):
        Settings.from_env({"AGENT_ROLES_HOLD_SHARE": text})


@pytest.mark.parametrize("text", ["true", "ON", "1", "no"])
def test_a_switch_is_on_or_off(text: str) -> None:
    with pytest.raises(InvalidSetting, match=r"AUTOMATION=.*: on or off is"):
        Settings.from_env({"AGENT_ROLES_AUTOMATION": text})


@pytest.mark.parametrize(
    "text",
    [
        "hooks.example/x",
        "file:///etc/passwd",
        "https:///x",
        "https://[abc/x",
        "https://hooks.example:abc/x",
        "https://user:secret@hooks.example/x",
        "https://hooks.example/x y",
        "https://hooks.example/x\n",
    ],
)
def test_a_webhook_is_a_web_address_and_is_not_printed(text: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        Settings.from_env({"AGENT_ROLES_WEBHOOK_URL": text})
    assert "AGENT_ROLES_WEBHOOK_URL" in str(refused.value)
    assert text not in str(refused.value)
    assert refused.value.__context__ is None, "nothing of it in the traceback"


def test_the_command_line_shows_the_sentence_and_no_traceback() -> None:
    command = ["-m", "dagster", "asset", "list", "-m", "agent_roles_dagster.definitions"]
    env = {**os.environ, "AGENT_ROLES_CONNECTIONS": "many"}
    ended = subprocess.run(
        [sys.executable, *command], env=env, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "AGENT_ROLES_CONNECTIONS='many': a number from 1" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_the_environment_of_the_process_is_read_when_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AGENT_ROLES_LANDING", "/one")
    assert Settings.from_env().landing == "/one"
    monkeypatch.setenv("AGENT_ROLES_LANDING", "/two")
    assert Settings.from_env().landing == "/two"


@pytest.mark.parametrize("landing", [{}, {"AGENT_ROLES_LANDING": ""}])
def test_the_sample_never_goes_into_somebodys_database(landing: dict[str, str]) -> None:
    with pytest.raises(InvalidSetting) as refused:
        Settings.from_env({"AGENT_ROLES_DATABASE_URL": "postgresql://db/roles", **landing})
    assert str(refused.value) == (
        "AGENT_ROLES_DATABASE_URL is set, but AGENT_ROLES_LANDING is not: the sample that comes"
        " with the package would be loaded into that database. Set AGENT_ROLES_LANDING to the"
        " folder or the URI where the dumps land"
    )


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("AGENT_ROLES_LANDINGS", "AGENT_ROLES_LANDING"),
        ("AGENT_ROLES_DATABSE_URL", "AGENT_ROLES_DATABASE_URL"),
        ("AGENT_ROLES_SPARK", "AGENT_ROLES_SPARK_MASTER"),
        ("AGENT_ROLES_X", "AGENT_ROLES_HOME"),
    ],
)
def test_a_name_that_nothing_reads_is_refused_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        Settings.from_env({name: "1"})
    assert str(refused.value) == f"{name}: there is no such setting. The nearest is {nearest}"


def test_what_others_set_is_not_ours_to_judge() -> None:
    others = {"AGENT_ROLE": "1", "PATH": "", "AGENT_ROLES_TEST_SEED": "1"}
    assert Settings.from_env(others) == Settings.from_env({})


def test_the_docs_list_the_settings_that_there_are_with_their_defaults() -> None:
    page = (CHECKOUT / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(AGENT_ROLES_[A-Z_]+)` \|(.*?)\|", page, re.MULTILINE)
    assert {name for name, _ in rows} == set(NAMES)
    defaults = {name: default.strip(" `") for name, default in rows}
    # What is in words, such as "the sample", can't be set.
    written = {name: default for name, default in defaults.items() if " " not in default}
    assert Settings.from_env(written) == Settings.from_env({})
    assert sum(map(bool, written.values())) > 10
