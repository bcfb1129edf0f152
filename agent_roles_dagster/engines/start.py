"""Starting the engine that AGENT_ROLES_SPARK_MASTER chooses.

`sail` is Sail in the run's own process. `apache_spark` is a JVM on this machine, which computes by
itself or drives a cluster. A URL sc://... is any Spark Connect server. Each engine gives a Spark
session, and the same code runs on it.

https://docs.dagster.io/guides/build/external-resources
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from dagster_pyspark import LazyPySparkResource
from pyspark.sql import SparkSession

from agent_roles_dagster.machine import cores
from agent_roles_dagster.settings import Settings


@dataclass(frozen=True)
class Engine:
    """A Spark session, and how many of its tasks run at once.

    Attributes:
        tasks: how many tasks run at once in this process and share its memory and cores; None if
            the engine itself decides.
    """

    session: SparkSession
    tasks: int | None


# Starts an engine when there is something to compute. It stops when the context ends.
Start = Callable[[], AbstractContextManager[Engine]]


def spark_resource(settings: Settings) -> LazyPySparkResource:
    """dagster-pyspark's resource. It starts nothing before its session is used.

    Dagster keeps a resource's configuration with each run, and shows it. So settings that may hold
    a secret are not in it. `started` adds them.
    """
    config = {"spark.sql.session.timeZone": "UTC"}
    if not settings.is_sail:
        config |= {
            # Otherwise PySpark records for each column which line of Python it comes from.
            "spark.python.sql.dataFrameDebugging.enabled": "false",
            "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
            # The plan has one shuffle, and its number of partitions is known beforehand.
            "spark.sql.adaptive.enabled": "false",
        }
    if settings.is_jvm:
        config |= {
            "spark.master": settings.spark_master,
            "spark.app.name": "agent_roles",
            "spark.driver.memory": "4g",  # at most
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
        }
    if settings.is_jvm and not settings.is_cluster:
        # Tasks are sent the database's URL with its password, so the connections are encrypted. On
        # a cluster, this needs a secret that its administrator sets.
        config |= {
            "spark.authenticate": "true",
            "spark.network.crypto.enabled": "true",
            "spark.io.encryption.enabled": "true",
        }
    return LazyPySparkResource(spark_config=config)


@contextmanager
def started(pyspark: LazyPySparkResource, settings: Settings) -> Iterator[Engine]:
    """Start the engine that the settings name, with the configuration of both.

    Raises:
        JavaNotFound: there is no Java here that runs Apache Spark.
        SailError: Sail can't be used.
    """
    config = {**pyspark.spark_config, **settings.spark_conf}
    if settings.is_sail:
        # Each engine is imported only if it is used. Importing takes a good part of a small day's
        # time.
        from agent_roles_dagster.engines.sail import sail_session

        with sail_session(config, settings) as session:
            yield Engine(session, tasks=cores())
    elif settings.is_jvm:
        from agent_roles_dagster.engines.apache_spark import apache_spark_session

        yield Engine(apache_spark_session(config, settings), tasks=None)
    else:
        os.environ["SPARK_REMOTE"] = settings.spark_master
        session = LazyPySparkResource(spark_config=config).spark_session
        from agent_roles_dagster.engines.package import add_package

        add_package(session)
        yield Engine(session, tasks=None)
