"""Engines: where the Spark code of a run is executed, chosen by AGENT_ROLES_SPARK_MASTER.

`sail` is Sail in the run's own process, `apache_spark` is a JVM on this machine that computes or
drives a cluster, and a URL sc://... is any Spark Connect server. All hand out a Spark session; what
is computed with it is the same code.

https://docs.dagster.io/guides/build/external-resources
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from dagster_pyspark import LazyPySparkResource
from pyspark.sql import SparkSession

from agent_roles_dagster.settings import Settings


@dataclass(frozen=True)
class Engine:
    """A Spark session, and how its work is cut.

    Attributes:
        tasks: tasks that run at once in this process, whose memory and cores they share; None if
            the engine itself decides how many of the tasks it is given run at once.
    """

    session: SparkSession
    tasks: int | None


# Enters an engine when there is something to compute; it ends with the context.
Start = Callable[[], AbstractContextManager[Engine]]


def spark_resource(settings: Settings) -> LazyPySparkResource:
    """dagster-pyspark's resource, which starts nothing before its session is asked for.

    Dagster keeps a resource's configuration with every run, and shows it. What may hold a secret is
    therefore not in it, but added by `started`.
    """
    config = {"spark.sql.session.timeZone": "UTC"}
    if not settings.is_sail:
        config |= {
            # Otherwise PySpark notes for each column where in Python it was written.
            "spark.python.sql.dataFrameDebugging.enabled": "false",
            "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
            # The plan has one shuffle, whose partitions are counted beforehand.
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
        # What passes between tasks has the database's URL, with its password. A cluster needs a
        # secret of its own for this.
        config |= {
            "spark.authenticate": "true",
            "spark.network.crypto.enabled": "true",
            "spark.io.encryption.enabled": "true",
        }
    return LazyPySparkResource(spark_config=config)


@contextmanager
def started(pyspark: LazyPySparkResource, settings: Settings) -> Iterator[Engine]:
    """The engine that the settings name, with the resource's configuration and the settings'.

    Raises:
        errors.JavaNotFound: Apache Spark has no Java here, or one that does not run it.
        errors.SailError: Sail can't be used.
    """
    config = {**pyspark.spark_config, **settings.spark_conf}
    if settings.is_sail:
        # Imported late: each engine's packages take a good part of a small day's time.
        from agent_roles_dagster.engines.sail import sail_session

        with sail_session(config, settings) as session:
            yield Engine(session, tasks=settings.cores)
    elif settings.is_jvm:
        from agent_roles_dagster.engines.apache_spark import apache_spark_session

        yield Engine(apache_spark_session(config, settings), tasks=None)
    else:
        os.environ["SPARK_REMOTE"] = settings.spark_master
        session = LazyPySparkResource(spark_config=config).spark_session
        from agent_roles_dagster.engines.package import add_package

        add_package(session)
        yield Engine(session, tasks=None)
