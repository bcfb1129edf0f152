"""`python -m agent_roles_dagster.class_archive`, once, and Spark starts some seconds sooner.

A part of Spark's start is the loading of its fifteen thousand Java classes; from an archive of them
the JVM only maps them. The archive is of one Java and one Spark: after a change of either it is not
used, until it is made again.

https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
from pyspark import SparkContext
from pyspark.sql import SparkSession

from agent_roles_dagster.java import JavaNotFound, class_archive, driver_options, java_home
from agent_roles_dagster.landing import find_dump
from agent_roles_dagster.resources import spark_resource, spark_session
from agent_roles_dagster.settings import InvalidSetting, Settings
from agent_roles_dagster.transform import SNAPSHOT_SCHEMA, read_roles_raw, transform_agent_roles


class NoArchive(RuntimeError):
    """There can be no archive that Spark uses. Its text says why, and what to do if anything."""


def make(settings: Settings) -> Path:
    """Make the archive where runs with these settings look for it; takes a minute at most.

    Raises:
        java.JavaNotFound: there is no Java.
        NoArchive: there is, but no archive can be made with it, or runs start no Java here; runs
            go on without one.
    """
    if settings.is_connect:
        raise NoArchive(
            "Runs with AGENT_ROLES_SPARK_MASTER=sc://... start no Java on this machine, so no"
            " archive of classes was made: there is nothing that it would make faster."
        )
    # Of a cluster, too, it is the driver on this machine that starts sooner.
    settings = replace(settings, spark_master="local[2]")
    home = java_home(settings.home)
    archive = class_archive(home, settings.home)
    archive.parent.mkdir(parents=True, exist_ok=True)
    # Not every Java comes with the archive of its own classes, on which ours builds.
    own = archive.with_suffix(".java.jsa")
    new = archive.with_suffix(f".{os.getpid()}")
    dump = [str(home / "bin" / "java"), "-Xshare:dump", f"-XX:SharedArchiveFile={own}"]
    try:
        subprocess.run(dump, check=True, capture_output=True)
        with _spark(
            settings,
            f"-XX:SharedArchiveFile={own}",
            f"-XX:ArchiveClassesAtExit={new}",
            # It would warn of each of the hundreds of classes that can't be archived.
            "-Xlog:disable",
        ) as spark:
            _do_what_a_run_does(spark)
        # Other than a run, it does not start if it can't use the archive.
        with _spark(settings, f"-XX:SharedArchiveFile={new}", "-Xshare:on"):
            pass
    except (OSError, subprocess.CalledProcessError, JavaNotFound) as error:
        new.unlink(missing_ok=True)
        own.unlink(missing_ok=True)
        raise NoArchive(
            f"With the Java in {home} Spark can't use an archive of its classes. Runs go on without"
            " one. With a JDK 17 it can: set JAVA_HOME to its folder and try again."
        ) from error
    os.replace(new, archive)
    return archive


@contextmanager
def _spark(settings: Settings, *java_options: str) -> Iterator[SparkSession]:
    """A session in a JVM of its own, which has ended afterwards."""
    os.environ["PYSPARK_SUBMIT_ARGS"] = driver_options(*java_options)
    spark = spark_session(spark_resource(settings), settings)
    yield spark
    spark.stop()
    jvm: subprocess.Popen[bytes] = vars(SparkContext)["_gateway"].proc
    # It ends, and writes the archive, once nobody writes to it any more.
    jvm.communicate()
    SparkContext._gateway = SparkContext._jvm = None


def _do_what_a_run_does(spark: SparkSession) -> None:
    def through(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches

    dump = find_dump(Settings.from_env({}).landing, "day1")
    ids = spark.range(1).mapInArrow(through, "id bigint")
    snapshots = ids.selectExpr(
        "id AS agent_id", "id AS role_id", "CAST(id AS INT) AS seen"
    ).mapInArrow(through, SNAPSHOT_SCHEMA)
    decided = transform_agent_roles(
        read_roles_raw(spark, "day1", dump.files),
        snapshots,
        has_next=True,
        partitions=1,
    )
    decided.mapInArrow(through, decided.schema).collect()


if __name__ == "__main__":
    try:
        print(make(Settings.from_env()))
    except (InvalidSetting, JavaNotFound, NoArchive) as error:
        sys.exit(str(error))
