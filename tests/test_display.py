"""Text from the dump's side reaches people as text: in logs, in Markdown and in chat."""

import json
import os

import dagster as dg
import pytest

from agent_roles_dagster.display import in_chat, in_markdown, plain
from agent_roles_dagster.landing.find import find_dump
from agent_roles_dagster.landing.seal import seal
from agent_roles_dagster.orchestration.notices.webhook import post
from agent_roles_dagster.outcomes import Unreadable
from tests.conftest import Pipeline
from tests.webhooks import webhook

ROLES = '[{"id": 10, "agents": [1]}]'
# A name that forges a line, mentions everybody and fetches a picture.
HOSTILE = "a\n\u202e<!channel> @here ![x](http:x)<img src=x>|`.json"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("roles 1.json", "roles 1.json"),
        ("é 名 😀.json", "é 名 😀.json"),
        ("a\nb\r\tc\x00\x1b[31m", "a\\nb\\r\\tc\\x00\\x1b[31m"),
        ("a\u2028b\u2029c\x85d", "a\\u2028b\\u2029c\\x85d"),
        ("a\u202eb\u2066c\u200fd", "a\\u202eb\\u2066c\\u200fd"),
        ("a\u200bb\u00adc\ufeffd\u00a0e\u3000f", "a\\u200bb\\xadc\\ufeffd\\xa0e\\u3000f"),
        ("a\u3164b\ufe0fc\U000e0100d\u2800e", "a\\u3164b\\ufe0fc\\U000e0100d\\u2800e"),
        (os.fsdecode(b"caf\xe9.json"), "caf\\xe9.json"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_is_not_seen_as_it_is_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_a_long_text_is_cut_and_says_so() -> None:
    assert plain("x" * 200) == "x" * 200
    assert plain("x" * 201) == "x" * 199 + "…"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("agent_id is null", "agent_id is null"),
        ("removed, at another time", "removed, at another time"),
        ("roles.json", "`roles.json`"),
        ("![x](https://e.example/x.png)", "`![x](https://e.example/x.png)`"),
        ("<img src=x>", "`<img src=x>`"),
        ("a|b`c``", "`a\\x7cb\\x60c\\x60\\x60`"),
        ("# a", "`# a`"),
        ("_a_", "`_a_`"),
        ("a\n- b", "`a\\n- b`"),
        ("www.e.example", "`www.e.example`"),
    ],
)
def test_in_markdown_all_but_words_is_code_that_nothing_ends(text: str, shown: str) -> None:
    assert in_markdown(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("day1: held\nRun 1", "day1: held\nRun 1"),
        ("<!channel> & <@U1>", "&lt;!channel&gt; &amp; &lt;@\u200bU1&gt;"),
        ("@channel @here @all @user", "@\u200bchannel @\u200bhere @\u200ball @\u200buser"),
        ("![x](y.png) [a][b]", "![x]\u200b(y.png) [a]\u200b[b]"),
        ("[b]: x", "[b]\u200b: x"),
        ("https://e.example www.e.example", "https:\u200b//e.example www\u200b.e.example"),
        ("mailto:a", "mailto\u200b:a"),
    ],
)
def test_in_chat_nothing_is_a_mention_a_link_or_a_picture(text: str, shown: str) -> None:
    assert in_chat(text) == shown


def test_a_notice_is_posted_as_text_and_has_at_most_3000_characters() -> None:
    with webhook() as hook:
        post(hook.url, "<!channel> @here")
        post(hook.url, "x" * 3000)
        post(hook.url, "x" * 3001)
        post(hook.url, "x" * 2998 + "&")
        post(hook.url, "x" * 2995 + "&y")
    assert hook.texts == [
        "&lt;!channel&gt; @\u200bhere",
        "x" * 3000,
        "x" * 3000,
        "x" * 2998,
        "x" * 2995 + "&amp;",
    ]


def test_a_hostile_name_is_one_line_in_the_error_and_the_log_and_code_in_markdown(
    pipeline: Pipeline, capfd: pytest.CaptureFixture[str]
) -> None:
    pipeline.write("day1", {HOSTILE: ROLES})
    result = pipeline.run("day1", select="raw_roles")
    assert result.success
    materialized = result.asset_materializations_for_node("raw_roles")[0]
    listed = materialized.metadata["names and sizes"]
    assert isinstance(listed, dg.MarkdownMetadataValue)
    shown = plain(HOSTILE).replace("|", "\\x7c").replace("`", "\\x60")
    assert listed.value == f"- `{shown}`: {len(ROLES)} bytes"
    pipeline.write("day1", {HOSTILE: "[]\0"})
    result = pipeline.run("day1", select="raw_roles")
    failure = result.failure_data_for_node("raw_roles")
    assert failure is not None
    assert failure.user_failure_data is not None
    text = failure.user_failure_data.description or ""
    assert text.startswith(f"day1/{plain(HOSTILE)}: it holds a NUL byte")
    assert "\n" not in text
    assert "\u202e" not in text
    assert HOSTILE not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({HOSTILE: ""}, "the file is empty"),
        ({HOSTILE: "[]\xff".encode("latin-1")}, "not UTF-8"),
        ({"a.json": ROLES, "_manifest.json": {"files": [{"name": HOSTILE}]}}, "not there"),
        (
            {HOSTILE: ROLES, "_manifest.json": {"files": [{"name": HOSTILE, "sha256": "a\nb"}]}},
            "but _manifest.json says a\\nb",
        ),
    ],
)
def test_every_refusal_names_a_hostile_file_in_one_line(
    pipeline: Pipeline, files: dict[str, object], said: str
) -> None:
    pipeline.write(
        "day1",
        {
            name: json.dumps(content) if isinstance(content, dict) else content  # type: ignore[misc]
            for name, content in files.items()
        },
    )
    with pytest.raises(Unreadable) as refused:
        seal(find_dump(str(pipeline.landing), "day1"))
    assert str(refused.value).startswith(f"day1/{plain(HOSTILE)}: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
