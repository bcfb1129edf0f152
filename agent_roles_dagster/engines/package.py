"""Sends this package to Spark's executors on other machines, which don't have it."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

from pyspark.sql import SparkSession

_PACKAGE = Path(__file__).parents[1]


@cache
def add_package(session: SparkSession) -> None:
    """Send this package's modules. The other packages that they import must be there already."""
    file = Path(_lasting_folder().name, f"{_PACKAGE.name}.zip")
    with ZipFile(file, "w") as package:
        for module in sorted(_PACKAGE.rglob("*.py")):
            package.write(module, module.relative_to(_PACKAGE.parent))
    session.addArtifacts(str(file), pyfile=True)


@cache
def _lasting_folder() -> "TemporaryDirectory[str]":
    """A folder that lasts until this process ends. Executors fetch from it when they start."""
    return TemporaryDirectory(prefix="agent-roles-")
