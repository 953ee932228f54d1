"""Answers to the server that knows which devices were made, by the words of airgap.md section 15.

The secret of a batch comes with the device's settings. Devices of today have test secrets or none:
the check that tells each device from all others is `genuine`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from primegap.keyos.api import security as api
from primegap.keyos.errors import RequestError, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from primegap.keyos.frame import Caller
    from primegap.keyos.messages import Message

SETTING: Final = "supply_chain"


class SupplyChain:
    """The server whose questions are answered, and the secret of the batch."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        found = config.get(SETTING)
        self._server = bytes.fromhex(found["server"]) if found else b""
        self._secret = bytes.fromhex(found["secret"]) if found else b""

    async def answer(self, caller: Caller, request: api.AnswerSupplyChain) -> Message:
        """Answer a question that the server signed with four words."""
        from primegap.airgap.errors import ChallengeRefusedError
        from primegap.airgap.supply_chain import answer_challenge, parse_challenge_untrusted
        from primegap.bitcoin.keys import seed_words

        if not self._secret:
            raise RequestError(Status.NOT_FOUND, "This device was made known to no server.")
        try:
            challenge = parse_challenge_untrusted(request.question, self._server)
        except ChallengeRefusedError as error:
            raise RequestError(Status.DENIED, error.hint) from error
        words = seed_words()
        numbers = answer_challenge(challenge, self._secret).numbers
        return api.SupplyChainWords(tuple(words[number] for number in numbers))
