"""Resources: the settings as the run sees them, the database, and Spark.

https://docs.dagster.io/guides/build/external-resources
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import dagster as dg
from dagster_pyspark import LazyPySparkResource
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession

from agent_roles_dagster.database import database_url
from agent_roles_dagster.java import JavaNotFound, class_archive, driver_options, java_home
from agent_roles_dagster.settings import Settings

_SMALL = 4 << 20  # bytes: some hundred thousand pairs


class AgentRolesResource(dg.ConfigurableResource[None]):
    """The settings, read from the environment when a run needs them."""

    def settings(self) -> Settings:
        return Settings.from_env()

    def database_url(self) -> str:
        """libpq URL of the database; starts the embedded server where none is set."""
        return database_url(self.settings())


def spark_resource(settings: Settings) -> LazyPySparkResource:
    """dagster-pyspark's resource, which starts no JVM before its session is asked for.

    Dagster keeps a resource's configuration with every run, and shows it. So what may hold secrets
    is not in it, but added by `spark_session`.
    """
    config = {
        "spark.sql.session.timeZone": "UTC",
        # Notes of where in Python each column was written: a good part of a small day's time.
        "spark.python.sql.dataFrameDebugging.enabled": "false",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
        # The plan has one shuffle, whose partitions are counted beforehand: planning the rest anew
        # after it brings nothing, and is a twelfth of a small day's staging.
        "spark.sql.adaptive.enabled": "false",
    }
    if not settings.is_connect:  # its server has its own of these
        config |= {
            "spark.master": settings.spark_master,
            "spark.app.name": "agent_roles",
            # At most; Spark's own default is too little for tens of millions of pairs.
            "spark.driver.memory": "4g",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
        }
    return LazyPySparkResource(spark_config=config)


def spark_session(pyspark: LazyPySparkResource, settings: Settings, size: int = 0) -> SparkSession:
    """The resource's session, with all that the settings say of Spark.

    Finds a Java for it first where Spark runs on this machine. A cluster gets this package with the
    session; what the package imports must be there.

    Args:
        size: about how many bytes it is going to read; a JVM that is not there yet is started
            accordingly.

    Raises:
        java.JavaNotFound: there is none, or it does not run Spark.
    """
    home = None
    if settings.is_connect:
        os.environ["SPARK_REMOTE"] = settings.spark_master
    else:
        home = java_home(settings.home)
        os.environ["JAVA_HOME"] = str(home)
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        if not settings.is_cluster:
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    complete = LazyPySparkResource(spark_config={**pyspark.spark_config, **settings.spark_conf})
    if home is None:
        session: SparkSession = complete.spark_session
    else:
        options = driver_options(*_java_options(class_archive(home, settings.home), size))
        is_given = "PYSPARK_SUBMIT_ARGS" in os.environ
        os.environ.setdefault("PYSPARK_SUBMIT_ARGS", options)
        try:
            with _stopped_afterwards():
                session = complete.spark_session
        except PySparkRuntimeError as error:
            raise JavaNotFound(
                f"The Java in {home} does not run Spark; above is what it said. Set JAVA_HOME to"
                " the folder of a JDK 17 or newer for this machine. Nothing was changed in any"
                " table."
            ) from error
        finally:
            # They are this session's; a process that this one starts makes up its own.
            if not is_given:
                del os.environ["PYSPARK_SUBMIT_ARGS"]
    if settings.is_cluster:
        _add_package(session)
    return session


@contextmanager
def _stopped_afterwards() -> Iterator[None]:
    """The first SIGTERM or SIGINT takes effect once the block has ended, a second one at once.

    pyspark, interrupted, removes the folder in which the JVM is going to say where it listens. The
    JVM fails at that before it watches for its parent's end, and lives for ever.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    caught: list[int] = []

    def catch(number: int, _: object) -> None:
        caught.append(number)
        if len(caught) > 1:
            restore()
            signal.raise_signal(number)

    def restore() -> None:
        for each, handler in handlers.items():
            if signal.getsignal(each) is catch:  # pyspark may have put its own in place
                signal.signal(each, handler)

    handlers = {each: signal.signal(each, catch) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        restore()
        if len(caught) == 1:
            signal.raise_signal(caught[0])


def _java_options(archive: Path, size: int) -> Iterator[str]:
    # It says nothing but errors, from its first line on.
    yield f"-Dlog4j2.configurationFile={Path(__file__).parent / 'log4j2.properties'}"
    if archive.exists():
        yield f"-XX:SharedArchiveFile={archive}"
    if size <= _SMALL:
        # Most of a small day's time is the JVM's start, in which it compiles more than it gains.
        yield "-XX:TieredStopAtLevel=1"


@cache
def _add_package(session: SparkSession) -> None:
    """Give the session this package's modules, which its tasks on other machines then import."""
    source = Path(__file__).parent
    file = Path(_lasting_folder().name, f"{source.name}.zip")
    with ZipFile(file, "w") as package:
        for module in sorted(source.glob("*.py")):
            package.write(module, f"{source.name}/{module.name}")
    session.addArtifacts(str(file), pyfile=True)


@cache
def _lasting_folder() -> "TemporaryDirectory[str]":
    """A folder that is there until this process ends: executors fetch from it when they start."""
    return TemporaryDirectory(prefix="agent-roles-")
