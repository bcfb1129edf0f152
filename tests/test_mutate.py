"""What `tests.mutate` makes of a test run: only a test that passed before and fails now noticed."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests import CHECKOUT, mutate
from tests.mutations import MUTATIONS, Mutation

PRODUCT = "def double(number):\n    return 2 * number\n"
TESTS = """
import product, pytest

def test_it_doubles():
    assert product.double(3) == 6

def test_it_is_there():
    assert product.double

def test_it_fails():
    assert False

@pytest.fixture
def six():
    assert product.double(3) == 6

def test_it_needs_six(six):
    pass

@pytest.mark.skip
def test_it_is_skipped():
    pass
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout of very little."""
    (tmp_path / "product.py").write_text(PRODUCT)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_product.py").write_text(TESTS)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "becomes", "tests", "verdict"),
    [
        ("2 *", "3 *", "test_it_doubles", "noticed by tests/test_product.py::test_it_doubles - as"),
        ("2 *", "3 *", "test_it_is_there", "SURVIVED tests/test_product.py::test_it_is_there"),
        ("4 *", "3 *", "test_it_doubles", "STALE, since its text stands in product.py 0 times"),
        # It failed before, is not there, did not run, or ended for another reason.
        ("2 *", "3 *", "test_it_fails", "NOT JUDGED, since without it tests/test_product.py::test"),
        ("2 *", "3 *", "test_it_is_skipped", "NOT JUDGED, since without it tests/test_product.py"),
        ("2 *", "3 *", "test_it_doubles -k other", "NOT JUDGED, since without it tests/test_produ"),
        ("2 *", "2 **", "test_it_needs_six", "NOT JUDGED: pytest ended with 1: 1 error in "),
        ("return 2", "retrun 2", "test_it_doubles", "NOT JUDGED: pytest ended with 4: "),
    ],
)
def test_only_a_test_that_passed_and_now_fails_noticed(
    copy: Path, text: str, becomes: str, tests: str, verdict: str
) -> None:
    mutation = Mutation("", "product.py", text, becomes, f"tests/test_product.py::{tests}")
    assert mutate._try(copy, mutation).startswith(verdict)
    assert (copy / "product.py").read_text() == PRODUCT


def test_a_test_that_does_not_end_has_not_noticed(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutation = Mutation("", "product.py", "2 *", "3 *", "tests/test_product.py::test_it_doubles")
    assert mutate._unbroken(copy, mutation.tests) == "passed"
    monkeypatch.setattr(mutate, "PATIENCE", 0)
    assert mutate._try(copy, mutation) == "NOT JUDGED: pytest took more than 0 s"
    assert (copy / "product.py").read_text() == PRODUCT


def test_a_name_that_no_mutation_has_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert mutate.main(["socket", "no such thing"]) == 2
    assert capsys.readouterr().out == "No mutation has this in its name: no such thing\n"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_mutation_has_its_line_in_the_product_and_its_tests(mutation: Mutation) -> None:
    assert (CHECKOUT / mutation.file).read_text(encoding="utf-8").count(mutation.text) == 1
    files = re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", mutation.tests)
    assert files
    for file, function in files:
        assert not function or function in _functions(file), f"{file}::{function}"


@cache
def _functions(file: str) -> set[str]:
    tree = ast.parse((CHECKOUT / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
