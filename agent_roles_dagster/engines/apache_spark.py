"""Apache Spark with a JVM on this machine, which computes by itself or drives a cluster."""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from dagster_pyspark import LazyPySparkResource
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession

from agent_roles_dagster.engines.errors import JavaNotFound
from agent_roles_dagster.engines.java import java_home
from agent_roles_dagster.engines.package import add_package
from agent_roles_dagster.settings import Settings

_LOG_SETTINGS = Path(__file__).with_name("log4j2.properties")


def apache_spark_session(config: Mapping[str, str], settings: Settings) -> SparkSession:
    """The session of this process's JVM. The JVM is started first if there is none.

    Raises:
        JavaNotFound: there is no Java here that runs Spark.
    """
    home = java_home()
    os.environ["JAVA_HOME"] = str(home)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if not settings.is_cluster:
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    given = os.environ.get("PYSPARK_SUBMIT_ARGS")
    # The configuration goes into a file, as other accounts see a process's arguments.
    file = _private_folder() / "spark.properties"
    file.write_text(_properties(_with_private_folder(config)), encoding="utf-8")
    arguments = shlex.join(["--load-spark-defaults", "--properties-file", str(file)])
    os.environ["PYSPARK_SUBMIT_ARGS"] = f"{arguments} {given or 'pyspark-shell'}"
    try:
        with _stopped_afterwards():
            session: SparkSession = LazyPySparkResource(spark_config={}).spark_session
    except PySparkRuntimeError as error:
        raise JavaNotFound(
            f"The Java in {home} does not run Spark; above is what it said. Set JAVA_HOME to the"
            " folder of a JDK 17 or newer for this machine. Nothing was changed in any table."
        ) from error
    finally:
        # The arguments are for this session only. A child process sets its own.
        del os.environ["PYSPARK_SUBMIT_ARGS"]
        if given is not None:
            os.environ["PYSPARK_SUBMIT_ARGS"] = given
    if settings.is_cluster:
        add_package(session)
    return session


def _with_private_folder(config: Mapping[str, str]) -> Mapping[str, str]:
    """The configuration, with a folder for shuffles that no other account may enter."""
    options = f'"-Dlog4j2.configurationFile={_LOG_SETTINGS}"'
    own = {
        "spark.local.dir": str(_private_folder()),
        "spark.driver.defaultJavaOptions": options,  # Only errors are logged.
    }
    return {**own, **config}


def _properties(config: Mapping[str, str]) -> str:
    """The configuration as the text of a Java properties file."""
    escapes = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", " ": "\\ "})
    return "".join(
        f"{name.translate(escapes)}={value.translate(escapes)}\n" for name, value in config.items()
    )


@cache
def _private_folder_until_the_end() -> "TemporaryDirectory[str]":
    return TemporaryDirectory(prefix="agent-roles-spark-", ignore_cleanup_errors=True)


def _private_folder() -> Path:
    """A folder that lasts until this process ends, and that only its account may enter."""
    return Path(_private_folder_until_the_end().name)


@contextmanager
def _stopped_afterwards() -> Iterator[None]:
    """The first SIGTERM or SIGINT takes effect when the block has ended, a second one at once.

    If pyspark is interrupted while a JVM starts, it removes the folder to which the JVM is about to
    write its port. The JVM then fails before it begins to watch its parent, and never ends.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Only the main thread gets signals.
        return
    caught: list[int] = []

    def catch(number: int, _: object) -> None:
        caught.append(number)
        if len(caught) > 1:
            restore()
            signal.raise_signal(number)

    def restore() -> None:
        for each, handler in handlers.items():
            if signal.getsignal(each) is catch:  # pyspark may have set its own
                signal.signal(each, handler)

    handlers = {each: signal.signal(each, catch) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        restore()
        if len(caught) == 1:
            signal.raise_signal(caught[0])
