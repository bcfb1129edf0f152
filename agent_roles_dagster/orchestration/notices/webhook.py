"""Posting a notice to a webhook."""

import json
import re
import urllib.error
import urllib.request
from http.client import HTTPException

from agent_roles_dagster.display import in_chat

# Characters that chat services take.
MOST = 3000
_PATIENCE = 10


class NotDelivered(Exception):
    """The webhook did not accept a notice. The text does not have its address, a secret."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would go on as a GET, without the notice."""

    def redirect_request(self, *_: object) -> None:
        return None


def post(url: str, text: str, link: str | None = None) -> None:
    """Post a notice to a webhook, as the JSON that chat services take: {"text": ...}.

    Args:
        link: an address of our own. It follows the text as it is.

    Raises:
        NotDelivered: the webhook can't be reached, or answers with an error.
    """
    shown = _cut(in_chat(text))
    body = json.dumps({"text": f"{shown}\n{link}" if link else shown}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=_PATIENCE):
            return
    except urllib.error.HTTPError as error:
        reason = f"it answered {error.code}"
    except (OSError, ValueError, HTTPException) as error:
        reason = f"it can't be reached ({type(getattr(error, 'reason', error)).__name__})"
    # Not with its cause, whose text and traceback may name the address.
    raise NotDelivered(
        f"AGENT_ROLES_WEBHOOK_URL did not take a notice: {reason}. It is tried again."
    ) from None


def length(text: str) -> int:
    """The text's length once it is posted."""
    return len(in_chat(text))


def _cut(text: str) -> str:
    """The text at the length that chat services take. The longest line is cut, the others stay."""
    if (excess := len(text) - MOST) <= 0:
        return text
    lines = text.split("\n")
    longest = lines.index(max(lines, key=len))
    # No escape is cut in two.
    lines[longest] = re.sub(r"&[^;]*\Z", "", lines[longest][:-excess])
    return "\n".join(lines)[:MOST]
