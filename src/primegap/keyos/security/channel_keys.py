"""The authority that says which app a channel key speaks for (docs/adr/0023)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from primegap.keyos.api import security as api
from primegap.keyos.errors import ChannelUseError, RequestError, Status

if TYPE_CHECKING:
    from primegap.keyos.between.certificate import Authority
    from primegap.keyos.frame import Caller
    from primegap.keyos.messages import Message


class ChannelKeys:
    """Certifies keys under the identity that core gives the caller. Needs no seed and no unlock."""

    def __init__(self) -> None:
        self._authority: Authority | None = None  # made when it is first needed, not at the start

    async def certify(self, caller: Caller, request: api.CertifyChannelKey) -> Message:
        """Answer with the certificate of a key."""
        from primegap.keyos.between.certificate import Authority, Certificate, Side

        if self._authority is None:
            self._authority = Authority(os.urandom)
        try:
            certificate = self._authority.certify(
                Certificate(
                    Side(request.side),
                    caller.app_id,
                    caller.instance,
                    request.key,
                    request.app_server,
                )
            )
        except (ChannelUseError, ValueError) as error:
            raise RequestError(Status.MALFORMED, "not a key of a channel between apps") from error
        return api.ChannelCertificate(certificate, self._authority.public_key)
