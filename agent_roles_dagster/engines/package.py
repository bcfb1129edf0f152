"""This package for Spark's executors on other machines, which don't have it."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

from pyspark.sql import SparkSession

_PACKAGE = Path(__file__).parents[1]


@cache
def add_package(session: SparkSession) -> None:
    """Give the session this package's modules; what they import must be there."""
    file = Path(_lasting_folder().name, f"{_PACKAGE.name}.zip")
    with ZipFile(file, "w") as package:
        for module in sorted(_PACKAGE.rglob("*.py")):
            package.write(module, module.relative_to(_PACKAGE.parent))
    session.addArtifacts(str(file), pyfile=True)


@cache
def _lasting_folder() -> "TemporaryDirectory[str]":
    """A folder that is there until this process ends: executors fetch from it when they start."""
    return TemporaryDirectory(prefix="agent-roles-")
