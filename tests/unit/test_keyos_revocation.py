"""Objects, denials and revocation in the router: what passes, what is cut, who is woken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pytest

from primegap.keyos.core.router import (
    MAX_LENT_BYTES,
    ChangeFilter,
    Park,
    Router,
    ToClient,
    ToService,
)
from primegap.keyos.errors import ManifestError, Status
from primegap.keyos.frame import DEFAULT_OBJECT_BYTES, MAX_OBJECT_BYTES, Frame, Kind
from primegap.keyos.manifest import PermissionTable, parse_manifest_untrusted

GROUP: Final = 'permissionGroup = "device-secrets.app-scoped-seed"'
SERVICE: Final = f"""
appId = "0x{1:032x}"
role = "service"
name = "Service"
entry = "a:b"
profile = "service"
system = true
[servers."os/thing"]
Free = {{ id = 1, {GROUP}, approval = "autoAllow" }}
Asked = {{ id = 2, {GROUP}, approval = "grantOnFirstUse" }}
Large = {{ id = 3, {GROUP}, approval = "autoAllow" }}
[objects."os/thing"]
Large = {MAX_OBJECT_BYTES}
"""
APP: Final = f"""
appId = "0x{2:032x}"
role = "app-one"
name = "One"
entry = "a:b"
profile = "app"
[permissions]
"os/thing" = ["Free", "Asked", "Large"]
"""
GROUP_NAME: Final = "device-secrets.app-scoped-seed"


@pytest.fixture
def router() -> Router:
    table = PermissionTable(
        [parse_manifest_untrusted(SERVICE.encode())],
        installed=[parse_manifest_untrusted(APP.encode())],
    )
    router = Router(table)
    router.process_started("service")
    return router


@pytest.fixture
def connection(router: Router) -> int:
    return router.open_connection(router.process_started("app-one"), "os/thing")


def request(message_id: int, correlation: int, *, objects: int = 0) -> Frame:
    return Frame(kind=Kind.REQUEST, message_id=message_id, correlation=correlation, objects=objects)


def statuses(actions: Sequence[object]) -> dict[int, int]:
    """Return correlation -> status of the errors that go to a client."""
    return {
        action.frame.correlation: action.frame.words[0]
        for action in actions
        if isinstance(action, ToClient) and action.frame.kind is Kind.ERROR
    }


def filters(actions: Sequence[object]) -> list[set[int]]:
    return [set(action.message_ids) for action in actions if isinstance(action, ChangeFilter)]


def parked(actions: Sequence[object]) -> int:
    (action,) = actions
    assert isinstance(action, Park)
    return action.number


@pytest.mark.guarantee("X-5", tried="objects larger than the message allows")
def test_the_default_size_holds_unless_the_manifest_says_otherwise(
    router: Router, connection: int
) -> None:
    """X-5."""
    refused = router.client_frame(connection, request(1, 1, objects=1), DEFAULT_OBJECT_BYTES + 1)
    assert statuses(refused) == {1: Status.TOO_LARGE}
    (passed,) = router.client_frame(connection, request(1, 2, objects=1), DEFAULT_OBJECT_BYTES)
    assert isinstance(passed, ToService)
    (large,) = router.client_frame(connection, request(3, 3, objects=1), DEFAULT_OBJECT_BYTES + 1)
    assert isinstance(large, ToService)
    # The same holds for the answers; whoever waits for one that is too large is told.
    reply = Frame(kind=Kind.REPLY, correlation=passed.frame.correlation, objects=1)
    answer = router.service_frame("service", reply, DEFAULT_OBJECT_BYTES + 1)
    assert statuses(answer) == {2: Status.TOO_LARGE}


@pytest.mark.guarantee("X-3", tried="lent memory beyond the limit")
def test_lent_memory_is_limited_by_caller_and_comes_back_with_the_answer(
    router: Router, connection: int
) -> None:
    """X-3."""
    waiting = []
    for number in range(MAX_LENT_BYTES // DEFAULT_OBJECT_BYTES):
        frame = request(1, number, objects=1)
        (action,) = router.client_frame(connection, frame, DEFAULT_OBJECT_BYTES)
        assert isinstance(action, ToService)
        waiting.append(action.frame.correlation)
    over = router.client_frame(connection, request(1, 100, objects=1), 1)
    assert statuses(over) == {100: Status.BUSY}
    (inline,) = router.client_frame(connection, request(1, 101))
    assert isinstance(inline, ToService)
    # A cancelled one counts on until the service has let it go.
    router.client_frame(connection, Frame(kind=Kind.CANCEL, correlation=0))
    assert statuses(router.client_frame(connection, request(1, 102, objects=1), 1))
    router.service_frame("service", Frame(kind=Kind.REPLY, correlation=waiting[0]))
    (again,) = router.client_frame(connection, request(1, 103, objects=1), 1)
    assert isinstance(again, ToService)


@pytest.mark.guarantee("P-2", tried="frames that the kernel's lock cut")
def test_a_frame_that_the_kernel_cut_is_denied_and_counted(router: Router, connection: int) -> None:
    """P-2."""
    assert statuses(router.cut_frame(connection, Kind.REQUEST, 9, 5)) == {5: Status.DENIED}
    assert router.refused["app-one", "os/thing", 9] == 1
    assert statuses(router.cut_frame(connection, Kind.REPLY, 9, 5)) == {5: Status.MALFORMED}
    assert router.cut_frame(connection, 200, 9, 5) == []
    assert router.cut_frame(12345, Kind.REQUEST, 9, 5) == []
    router.client_frame(connection, request(1, 6))
    assert statuses(router.cut_frame(connection, Kind.REQUEST, 9, 6)) == {6: Status.MALFORMED}


@pytest.mark.guarantee("P-9", "R-6", tried="requests after a denial")
def test_a_denial_shuts_the_kernel_s_lock_until_it_may_be_asked_again(
    router: Router, connection: int
) -> None:
    """P-9, R-6."""
    assert router.rights(connection) == {1, 2, 3}
    number = parked(router.client_frame(connection, request(2, 1)))
    denied = router.answer_parked(number, allow=False)
    assert filters(denied) == [{1, 3}]
    assert statuses(denied) == {1: Status.DENIED}
    # Were the filter not there, the router would say no by itself, and ask nobody.
    assert statuses(router.client_frame(connection, request(2, 2))) == {2: Status.DENIED}
    assert filters(router.revoke("app-one", GROUP_NAME)) == [{1, 2, 3}]
    parked(router.client_frame(connection, request(2, 3)))


@pytest.mark.guarantee("P-9", "X-1", tried="a revocation under waiting requests")
def test_a_revocation_wakes_whoever_waits_and_cancels_at_the_service(
    router: Router, connection: int
) -> None:
    """P-9, X-1."""
    number = parked(router.client_frame(connection, request(2, 1)))
    (delivered,) = router.answer_parked(number, allow=True)
    assert isinstance(delivered, ToService)
    (free,) = router.client_frame(connection, request(1, 2))
    assert isinstance(free, ToService)
    actions = router.revoke("app-one", GROUP_NAME)
    assert statuses(actions) == {1: Status.DENIED}
    cancelled = [a.frame.correlation for a in actions if isinstance(a, ToService)]
    assert cancelled == [delivered.frame.correlation]
    parked(router.client_frame(connection, request(2, 3)))


@pytest.mark.guarantee("R-4", "ID-2", tried="denials after the broker's or the app's end")
def test_a_denial_ends_with_the_broker_and_with_the_app(router: Router, connection: int) -> None:
    """R-4, ID-2."""
    number = parked(router.client_frame(connection, request(2, 1)))
    router.answer_parked(number, allow=False)
    assert filters(router.broker_gone()) == [{1, 2, 3}]
    number = parked(router.client_frame(connection, request(2, 2)))
    router.answer_parked(number, allow=False)
    another = router.open_connection(router.process_started("app-one"), "os/thing")
    assert router.rights(another) == {1, 2, 3}


@pytest.mark.guarantee("P-3", tried="sizes that make no sense")
@pytest.mark.parametrize(
    "lines",
    [
        "objects = 1",
        '[objects]\n"os/other" = { Free = 5 }',
        '[objects."os/thing"]\nNothing = 5',
        '[objects."os/thing"]\nFree = 0',
        '[objects."os/thing"]\nFree = true',
        f'[objects."os/thing"]\nFree = {MAX_OBJECT_BYTES + 1}',
    ],
)
def test_sizes_that_make_no_sense_are_refused(lines: str) -> None:
    """P-3."""
    text = SERVICE[: SERVICE.index("[objects")]
    if lines.startswith("objects"):
        text = lines + text
        lines = ""
    with pytest.raises(ManifestError):
        parse_manifest_untrusted((text + lines).encode())
