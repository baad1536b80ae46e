"""What must not be shown, taken out of what is: logs, errors, metrics, names of files."""

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from sapnet_stream.errors import one_line
from sapnet_stream.live.address import HIDDEN, Address
from sapnet_stream.live.fault import Fault

# Shorter ones occur in ordinary words; they are found as part of an address alone.
LEAST_SECRET = 4
_USERINFO = re.compile(r"(?<=://)[^\s/?#]*@")


class Redactor:
    """Takes the secrets of some addresses out of texts.

    Args:
        addresses: whose passwords, queries and stream keys are secret.
        typed: addresses as they were typed. Of those that were not understood nothing but the
            scheme may be shown, for a key can be anywhere.
    """

    def __init__(self, addresses: Iterable[Address] = (), typed: Iterable[str] = ()) -> None:
        # Our own sentences stay: a word left out of one that everybody knows would be told by that.
        self._hidden: dict[str, str] = {fault: fault for fault in Fault}
        self.hide(addresses, typed)

    def hide(self, addresses: Iterable[Address] = (), typed: Iterable[str] = ()) -> None:
        """Take these out from now on, too."""
        hidden = dict(self._hidden)
        for text in (each for each in typed if len(each) >= LEAST_SECRET):
            scheme, colon, rest = text.partition("://")
            shown = f"{scheme}{colon}{HIDDEN}" if rest else HIDDEN
            # What was understood before may be shown as it was then.
            hidden = dict.fromkeys(_written(text), shown) | hidden
            if rest:
                hidden = dict.fromkeys(_written(colon + rest), colon + HIDDEN) | hidden
        for address in addresses:
            if address.host:
                hidden |= dict.fromkeys(_written(address.url), address.shown)
                hidden[address.shown] = address.shown
            for secret in address.secrets:
                both = f"{address.user}:{secret}"
                basic = base64.b64encode(both.encode(errors="surrogateescape")).decode()
                for text in (*_written(both), *_written(secret), basic):
                    if len(text) >= LEAST_SECRET:
                        hidden.setdefault(text, HIDDEN)
        # Other threads may be cleaning: whatever their pattern finds is there.
        self._hidden = hidden
        # The longest first: a part of a secret may be another.
        longest = sorted(hidden, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest)))

    def clean(self, text: str) -> str:
        """`text` with "***" for every secret, and without the users of any address."""
        text = self._pattern.sub(lambda match: self._hidden[match[0]], text)
        return _USERINFO.sub(f"{HIDDEN}@", text)


def _written(text: str) -> set[str]:
    """The ways in which programs write a text: as it is, quoted, escaped."""
    plain = {text, quote(text, safe=""), quote(text), quote_plus(text), one_line(text)}
    return {each for text in plain for each in (text, *_escaped(text))}


def _escaped(text: str) -> tuple[str, ...]:
    return repr(text)[1:-1], ascii(text)[1:-1], json.dumps(text)[1:-1]
