"""`pyproject.toml`: what pip says where the project can't be installed."""

import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests import CHECKOUT

PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())


@pytest.mark.parametrize("minor", range(8, 17))
def test_pip_can_begin_only_with_a_python_that_the_project_supports(minor: int) -> None:
    """It asks for the build's requirements first, so an older pip need not search the others."""
    version = f"3.{minor}"
    asked = [Requirement(text) for text in PROJECT["build-system"]["requires"]]
    asked = [
        each for each in asked if each.marker and each.marker.evaluate({"python_version": version})
    ]
    [requirement] = asked
    is_supported = version in SpecifierSet(PROJECT["project"]["requires-python"])
    assert requirement.specifier.contains("1.30") is is_supported
    assert ("needs.python.3.11.to.3.13" in str(requirement)) is not is_supported
