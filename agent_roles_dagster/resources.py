"""Resources: the settings as the run sees them, the database, and Spark.

https://docs.dagster.io/guides/build/external-resources
"""

import os
import sys

import dagster as dg
from dagster_pyspark import LazyPySparkResource
from pyspark.sql import SparkSession

from agent_roles_dagster.database import database_url
from agent_roles_dagster.java import class_archive, driver_options, java_home
from agent_roles_dagster.settings import Settings


class AgentRolesResource(dg.ConfigurableResource[None]):
    """The settings, read from the environment when a run needs them."""

    def settings(self) -> Settings:
        return Settings.from_env()

    def database_url(self) -> str:
        """libpq URL of the database; starts the embedded server where none is set."""
        return database_url(self.settings())


def spark_resource(settings: Settings) -> LazyPySparkResource:
    """dagster-pyspark's resource, which starts no JVM before its session is asked for."""
    where = "spark.remote" if settings.spark_master.startswith("sc://") else "spark.master"
    return LazyPySparkResource(
        spark_config={
            where: settings.spark_master,
            "spark.app.name": "agent_roles",
            # At most; Spark's own default is too little for tens of millions of pairs.
            "spark.driver.memory": "4g",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.log.level": "ERROR",
            "spark.sql.session.timeZone": "UTC",
            # Notes of where in Python each column was written: a good part of a small day's time.
            "spark.python.sql.dataFrameDebugging.enabled": "false",
            "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
            **settings.spark_conf,
        }
    )


def spark_session(pyspark: LazyPySparkResource, settings: Settings) -> SparkSession:
    """The resource's session; finds a Java for it first where Spark runs on this machine.

    Raises:
        java.JavaNotFound: there is none.
    """
    if not settings.spark_master.startswith("sc://"):
        home = java_home(settings.home)
        os.environ["JAVA_HOME"] = str(home)
        if (archive := class_archive(home, settings.home)).exists():
            options = driver_options(f"-XX:SharedArchiveFile={archive}")
            os.environ.setdefault("PYSPARK_SUBMIT_ARGS", options)
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        if settings.spark_master.startswith("local"):
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    session: SparkSession = pyspark.spark_session
    return session
