"""The two kinds of records that have a list: a role lists its agents, an agent lists its roles."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")


# Compared by identity, as there are only two.
@dataclass(frozen=True, eq=False)
class Side:
    """Where a record has its own id, and where the entries of its list have theirs.

    Attributes:
        lists_agents: whether the entries are agents. If not, they are roles.
        record_keys: the key of the record's id, and the key instead where the first is absent.
        entry_keys: the same for an entry that is an object.
    """

    lists_agents: bool
    record_keys: tuple[str, str]
    entry_keys: tuple[str, str]

    @property
    def entry_id(self) -> str:
        """What messages call an entry's id."""
        return "agent_id" if self.lists_agents else "role_id"

    def record_id(self, parts: Mapping[str, bytes]) -> bytes | None:
        """The record's own id, as JSON text."""
        first, second = self.record_keys
        return parts.get(first, parts.get(second))

    def pair(self, record_id: _T, entry_id: _T) -> tuple[_T, _T]:
        """The two in the order agent, role."""
        return (entry_id, record_id) if self.lists_agents else (record_id, entry_id)


ROLE = Side(lists_agents=True, record_keys=("id", "role_id"), entry_keys=("id", "agent_id"))
AGENT = Side(lists_agents=False, record_keys=("id", "agent_id"), entry_keys=("role_id", "id"))
