"""README and docs/: commands run and print what the pages show, links and paths lead somewhere."""

import ast
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from agent_roles_dagster.definitions import defs
from tests.docs import CHECKOUT, PAGES, blocks, run

README, TABLES, HELD, TROUBLESHOOTING = (
    CHECKOUT / name
    for name in ("README.md", "docs/tables.md", "docs/held-days.md", "docs/troubleshooting.md")
)
# In this order a reader tries them, each from the tables that the one before leaves.
TRIED = (README, TABLES, HELD, TROUBLESHOOTING)
# CI installs, tests and lints; test_recipes asks a database of one's own.
NOT_TRIED = ("pytest\n", "ruff check", "AGENT_ROLES_DATABASE_URL")
INSTALL = "python3 -m venv .venv && . .venv/bin/activate && pip install -e '.[test]' && "
CODE = sorted((CHECKOUT / "agent_roles_dagster").rglob("*.py"))
MARK = "= the block ends here ="


def by_name(page: Path) -> str:
    return page.relative_to(CHECKOUT).as_posix()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A new folder, which the account of root's embedded server may enter, too."""
    with tempfile.TemporaryDirectory(prefix="agent-roles-docs-") as name:
        Path(name).chmod(0o755)
        (Path(name) / "dagster.yaml").symlink_to(CHECKOUT / "dagster.yaml")
        yield Path(name)


@pytest.mark.timeout(1200)
def test_the_commands_print_what_the_pages_show(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AGENT_ROLES_DATABASE_URL", "AGENT_ROLES_LANDING", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    for page in TRIED:
        tried = [
            each
            for each in blocks(page)
            if each.language in ("sh", "text") and not any(text in each.text for text in NOT_TRIED)
        ]
        commands = [each.text.removeprefix(INSTALL) for each in tried if each.language == "sh"]
        # One shell for a page, as what a block exports holds for the next.
        lines = "set +e; exec 2>&1\n" + "".join(f"{each}echo $? '{MARK}'\n" for each in commands)
        printed = iter(run(lines, folder, AGENT_ROLES_HOME=str(folder / "home")).split(MARK))
        output = ""
        for each in tried:
            if each.language == "sh":
                output = next(printed)
                assert output.endswith("1 " if " is held: " in output else "0 "), output
            for part in re.split(r"\.\.\.|\n", each.text) if each.language == "text" else ():
                assert part.strip() in output, f"{by_name(page)}: {part}\n{output}"


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_each_block_of_commands_can_be_parsed(page: Path) -> None:
    for each in blocks(page):
        if each.language == "sh":
            subprocess.run(["/bin/bash", "-n", "-c", each.text], check=True)


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_each_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", _without_blocks(page))
    for link in links:
        if link.startswith("https://"):
            continue
        name, _, heading = link.partition("#")
        target = (page.parent / name) if name else page
        assert target.is_file(), link
        if heading:
            assert heading in _headings(target), link


def test_each_page_is_linked_from_the_first_one() -> None:
    first = (CHECKOUT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (CHECKOUT / "docs").glob("*.md")} - {"README.md"}
    assert {page for page in pages if f"({page})" in first} == pages


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_each_path_and_module_that_is_named_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    paths = set(re.findall(r"\b((?:sql|deploy|tests|docs|agent_roles_dagster)/[\w./-]*)", text))
    for path in paths - {"deploy/.env"}:  # which the reader writes
        assert (CHECKOUT / path.rstrip(".")).exists(), path
    for file in re.findall(r"`([\w/]+\.py)`", text):
        assert any(CHECKOUT.rglob(file)), file
    for module in re.findall(r"python -m ([\w.]+)", text):
        assert find_spec(module), module


def test_each_function_that_architecture_names_is_there() -> None:
    text = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`([a-z_]+(?:\.\w+)+)`", text)
    modules = {_module(file): file for file in CODE}
    known = {f"{module}.{name}" for module, file in modules.items() for name in _defined(file)}
    assert len(named) > 10
    # Files have a dot in their names, too.
    named = [each for each in named if not each.endswith((".toml", ".yaml"))]
    assert [each for each in named if each not in known | modules.keys()] == []


def test_each_message_that_troubleshooting_explains_is_one_that_the_code_says() -> None:
    others = {  # Of PostgreSQL, of Python, of the package that is missing.
        "permission denied for ",
        "must be owner of ",
        "ModuleNotFoundError",
        "No module named ",
        "Please install ",
        "connection failed",
    }
    said = _said()
    rows = re.findall(r"^\| (.*?) \| ", TROUBLESHOOTING.read_text(encoding="utf-8"), re.MULTILINE)
    pieces = [
        piece
        for cell in rows
        for message in re.findall("`(.*?)`", cell)
        for piece in re.split(r"'day6'|\.\.\.|(?<=\w): ", message)
        if len(piece.strip()) > 3
    ]
    assert len(pieces) > 30
    unsaid = [piece for piece in pieces if piece not in others and piece.strip() not in said]
    assert unsaid == []


def test_the_list_of_checks_has_those_that_there_are() -> None:
    page = (CHECKOUT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = page.partition("\n## Checks\n")[2].partition("\n## ")[0]
    listed = re.findall(r"`(\w+)`", "".join(re.findall(r"^\|(.*?)\|", section, re.MULTILINE)))
    graph = defs.resolve_asset_graph()
    assert sorted(listed) == sorted(key.name for key in graph.asset_check_keys)


def test_the_changelog_has_the_version_of_the_package() -> None:
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    changelog = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.*?)\]", changelog, re.MULTILINE)
    assert headings[:2] == ["Unreleased", version]


def _module(file: Path) -> str:
    """The module's name as the page has it: without the package's."""
    return ".".join(file.relative_to(CHECKOUT / "agent_roles_dagster").with_suffix("").parts)


def _defined(file: Path) -> list[str]:
    """The names of a module's functions, classes and constants."""
    names = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return names


def _without_blocks(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)


def _headings(page: Path) -> set[str]:
    """The page's anchors, as GitHub makes them of its headings."""
    headings = re.findall(r"^#+ (.*)$", _without_blocks(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def _said() -> str:
    """All text in the package's code and SQL, and the names of its classes and assets."""
    found = []
    for file in CODE:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.ClassDef | ast.FunctionDef):
                found.append(node.name)
    found += [file.read_text(encoding="utf-8") for file in (CHECKOUT / "sql").rglob("*.sql")]
    return "\n".join(found)
