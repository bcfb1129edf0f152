"""Resources: the settings as the run sees them, and the database.

https://docs.dagster.io/guides/build/external-resources
"""

import dagster as dg

from agent_roles_dagster.postgres.connection import database_url
from agent_roles_dagster.settings import Settings


class AgentRolesResource(dg.ConfigurableResource[None]):
    """The settings, read from the environment when a run needs them."""

    def settings(self) -> Settings:
        return Settings.from_env()

    def database_url(self) -> str:
        """libpq URL of the database; starts the embedded server where none is set."""
        return database_url(self.settings())
