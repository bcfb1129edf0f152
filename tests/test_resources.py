"""The resources that a run gets."""

from agent_roles_dagster.resources import spark_resource
from agent_roles_dagster.settings import Settings


def test_a_spark_connect_url_with_its_token_is_no_part_of_the_configuration_that_is_shown() -> None:
    env = {"AGENT_ROLES_DATABASE_URL": "postgresql://db/roles"}
    settings = Settings.from_env({**env, "AGENT_ROLES_SPARK_MASTER": "sc://spark/;token=secret"})
    assert "secret" not in repr(spark_resource(settings).spark_config)
