"""Limits and log: what the person sees of them, and what a companion may ask about them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from primegap.apps.bitcoin import screens_limits
from primegap.apps.bitcoin.guard import RecordPutBackError, facts_of_policy
from primegap.apps.bitcoin.screens import saved
from primegap.bitcoin.errors import BitcoinError
from primegap.bitcoin.policy import Policy, PolicyFormatError, SetPolicy
from primegap.keyos.api import airlock, security, ui
from primegap.keyos.ui.canonical import encode_screen

if TYPE_CHECKING:
    from primegap.apps.bitcoin.guard import Guard, Record
    from primegap.bitcoin.accounts import Account
    from primegap.keyos.client import AppScreen
    from primegap.keyos.process import Process
    from primegap.keyos.ui.screen import Screen
    from primegap.quantumlink.api import bitcoin as routes

LOG_FILE: Final = "audit.log"
LOG_FRAME_S: Final = 0.25


class Limits:
    """The person's side of the guard."""

    def __init__(self, process: Process, screen: AppScreen, guard: Guard) -> None:
        self._process = process
        self._screen = screen
        self._guard = guard

    # -- the person -----------------------------------------------------------------------------

    async def open(self, account: Account, key: security.KeyChoice) -> None:
        """Show what is in force until the person goes back."""
        while True:
            try:
                record = await self._guard.read()
            except RecordPutBackError:
                if not await self._screen.confirm(screens_limits.renew_record()):
                    return
                await self._guard.renew()
                continue
            choice = await self._screen.present(screens_limits.limits(record.policies))
            if choice == screens_limits.LOG:
                await self._log(record)
            elif choice.startswith(screens_limits.POLICY):
                position = int(choice.removeprefix(screens_limits.POLICY))
                await self._policy(record, record.policies.items[position], key)
            else:
                return

    async def _policy(self, record: Record, item: SetPolicy, key: security.KeyChoice) -> None:
        session = self._guard.session()
        if session is not None and session.policy != item:
            session = None
        left_s = 0 if session is None else int(session.ends_s - _now_s())
        spent = self._guard.spent(record, item)
        screen = screens_limits.policy_details(item, spent, session, left_s)
        match await self._screen.present(screen):
            case screens_limits.REMOVE:
                if await self._screen.confirm(screens_limits.remove_policy(item)):
                    await self._guard.remove_policy(item)
            case screens_limits.BEGIN:
                await self._begin(item, key)
            case screens_limits.END:
                await self._guard.end_session()

    async def _begin(self, item: SetPolicy, key: security.KeyChoice) -> None:
        quick = item.policy.unattended
        if quick is None:
            return
        request = ui.Confirm(
            encode_screen(screens_limits.begin_session(item)),
            item.policy.digest,
            opens=key,
            session_s=quick.session_s,
        )
        decision = await self._process.call(request, ui.Decision)
        if decision.approved:
            await self._guard.begin_session(item, decision.confirmation)
        else:
            await self._guard.note("session-refused", facts_of_policy(item))

    async def _log(self, record: Record) -> None:
        log = record.log
        screen = screens_limits.log(self._guard.key, log.last, log.first)
        match await self._screen.present(screen):
            case screens_limits.SHOW:
                await self._show(await self._guard.export())
            case screens_limits.CARD:
                data = await self._guard.export()
                await self._process.call(airlock.WriteCardFile(LOG_FILE, data))
                await self._screen.present(saved([LOG_FILE]))

    async def _show(self, data: bytes) -> None:
        from primegap.airgap import DENSITIES, Animation, bytes_to_ur

        density = DENSITIES[-1]
        animation = Animation.of_ur(bytes_to_ur(data), density)

        async def frame() -> Screen:
            return screens_limits.log_code(animation.next_frame(), density.qr_version)

        await self._screen.present_live(frame, LOG_FRAME_S)

    # -- the companion --------------------------------------------------------------------------

    async def propose(
        self, account: Account, data: bytes, pairing: bytes, companion: str
    ) -> routes.SetPolicyResponse:
        """Show a policy that a companion proposes; set it if the person says so."""
        from primegap.quantumlink.api import bitcoin as routes

        try:
            policy = Policy.parse_untrusted(data)
            _check_addresses(policy, account)
            await self._guard.read()
        except (BitcoinError, RecordPutBackError) as error:
            return routes.SetPolicyError(error.hint)
        item = SetPolicy(account.id, pairing.hex(), policy)
        screen = encode_screen(screens_limits.policy_proposed(policy, account, companion))
        decision = await self._process.call(
            ui.Confirm(screen, policy.digest, opens=None), ui.Decision
        )
        if not decision.approved:
            await self._guard.note("policy-refused", facts_of_policy(item))
            return routes.PolicyRejected()
        await self._guard.set_policy(item)
        return routes.PolicySet()

    async def in_force(self, account: Account, pairing: bytes) -> routes.PoliciesInForce:
        """Tell a companion what holds for its payments."""
        from primegap.quantumlink.api import bitcoin as routes

        record = await self._guard.read()
        session = self._guard.session()
        rows = []
        for item in record.policies.covering(account.id, pairing.hex()):
            runs = session if session is not None and session.policy == item else None
            rows.append(
                routes.PolicyInForce(
                    policy=item.policy.encode(),
                    spent=self._guard.spent(record, item),
                    session_left_s=0 if runs is None else max(0, int(runs.ends_s - _now_s())),
                    session_left=0 if runs is None else runs.left,
                )
            )
        return routes.PoliciesInForce(policies=tuple(rows))


def _check_addresses(policy: Policy, account: Account) -> None:
    """Refuse addresses of another network, or written in another way than reviews write them."""
    from primegap.bitcoin.derivation import address_of_script, script_of_address

    for address in policy.allowed:
        script = script_of_address(address, account.network)
        if address_of_script(script, account.network) != address:
            raise PolicyFormatError("an address is not written in the usual way")


def _now_s() -> float:
    return asyncio.get_running_loop().time()
