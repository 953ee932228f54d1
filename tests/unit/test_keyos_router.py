"""The router's decisions, without processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from primegap.keyos.core.builtin import builtin_table
from primegap.keyos.core.router import (
    MAX_CONNECTIONS,
    MAX_PENDING_PER_CALLER,
    MAX_PENDING_PER_SERVER,
    CloseConnection,
    Router,
    ToClient,
    ToService,
)
from primegap.keyos.errors import RequestError, Status
from primegap.keyos.frame import Frame, Kind, Trust
from primegap.keyos.manifest import PermissionTable


@pytest.fixture
def router() -> Router:
    return Router(builtin_table())


def request(message_id: int, correlation: int = 1, payload: bytes = b"") -> Frame:
    return Frame(kind=Kind.REQUEST, message_id=message_id, correlation=correlation, payload=payload)


def reply(correlation: int) -> Frame:
    return Frame(kind=Kind.REPLY, correlation=correlation, payload=b"answer")


def only_service(actions: Sequence[object]) -> ToService:
    (action,) = actions
    assert isinstance(action, ToService)
    return action


def only_error(actions: Sequence[object], status: Status) -> None:
    (action,) = actions
    assert isinstance(action, ToClient)
    assert action.frame.kind is Kind.ERROR
    assert action.frame.words[0] == status


@pytest.mark.guarantee("P-1", tried="the router's decision for every role, server and id")
def test_every_message_that_is_not_granted_reaches_no_service() -> None:
    table = builtin_table()
    servers = {s: m.role for m in table.manifests.values() for s in m.servers}
    for role in table.manifests:
        router = Router(table)
        instances = {name: router.process_started(name) for name in table.manifests}
        for server in servers:
            try:
                connection = router.open_connection(instances[role], server)
            except RequestError as error:
                assert error.status is Status.DENIED
                assert not table.may_connect(role, server)
                continue
            for message_id in [*range(256), 2**32 - 1]:
                actions = router.client_frame(connection, request(message_id, message_id + 1))
                if table.allows(role, server, message_id):
                    action = only_service(actions)
                    router.service_frame(action.role, reply(action.frame.correlation))
                else:
                    only_error(actions, Status.DENIED)


@pytest.mark.guarantee("ID-1", tried="identities in the message")
def test_the_caller_is_what_core_knows_and_not_what_the_message_says(router: Router) -> None:
    router.process_started("security")
    instance = router.process_started("bitcoin")
    connection = router.open_connection(instance, "os/security")
    forged = request(6, payload=b"0x73656375726974790000000000000000")
    action = only_service(router.client_frame(connection, forged))
    assert action.caller.app_id == b"Bitcoin Wallet\x00\x00"
    assert action.caller.instance == instance
    assert action.caller.trust is Trust.BUILT_IN_APP


def test_an_answer_goes_once_to_the_request_it_answers(router: Router) -> None:
    router.process_started("security")
    connection = router.open_connection(router.process_started("bitcoin"), "os/security")
    asked = only_service(router.client_frame(connection, request(6, correlation=77)))
    (answer,) = router.service_frame("security", reply(asked.frame.correlation))
    assert isinstance(answer, ToClient)
    assert (answer.connection, answer.frame.correlation) == (connection, 77)
    assert router.service_frame("security", reply(asked.frame.correlation)) == []


def test_a_service_cannot_answer_for_another_one(router: Router) -> None:
    router.process_started("security")
    router.process_started("camera")
    connection = router.open_connection(router.process_started("bitcoin"), "os/security")
    asked = only_service(router.client_frame(connection, request(6)))
    assert router.service_frame("camera", reply(asked.frame.correlation)) == []
    assert len(router.service_frame("security", reply(asked.frame.correlation))) == 1


def test_a_client_cannot_send_answers(router: Router) -> None:
    router.process_started("security")
    connection = router.open_connection(router.process_started("bitcoin"), "os/security")
    only_error(router.client_frame(connection, reply(1)), Status.MALFORMED)


def test_limits_hit_only_the_sender(router: Router) -> None:
    router.process_started("security")
    bitcoin, link = router.process_started("bitcoin"), router.process_started("link")
    first = router.open_connection(bitcoin, "os/security")
    second = router.open_connection(bitcoin, "os/security")
    for number in range(MAX_PENDING_PER_CALLER):
        only_service(router.client_frame((first, second)[number % 2], request(6, number)))
    only_error(router.client_frame(first, request(6, 9999)), Status.BUSY)
    only_error(router.client_frame(second, request(6, 9999)), Status.BUSY)
    assert MAX_PENDING_PER_SERVER > 3 * MAX_PENDING_PER_CALLER
    other = router.open_connection(link, "os/security")
    only_service(router.client_frame(other, request(6)))
    for _ in range(MAX_CONNECTIONS - 2):
        router.open_connection(bitcoin, "os/security")
    with pytest.raises(RequestError) as refusal:
        router.open_connection(bitcoin, "os/security")
    assert refusal.value.status is Status.BUSY


@pytest.mark.guarantee("X-1", tried="a service that dies with requests in hand")
def test_a_dead_service_wakes_its_callers(router: Router) -> None:
    security = router.process_started("security")
    connection = router.open_connection(router.process_started("bitcoin"), "os/security")
    router.client_frame(connection, request(6, correlation=5))
    actions = router.process_gone(security)
    assert CloseConnection(connection) in actions
    errors = [a for a in actions if isinstance(a, ToClient)]
    assert [(e.frame.correlation, e.frame.words[0]) for e in errors] == [(5, Status.SERVER_GONE)]
    assert router.client_frame(connection, request(6)) == []


@pytest.mark.guarantee("ID-2", "X-1", tried="a late answer for a dead caller")
def test_a_dead_caller_is_cancelled_and_its_late_answer_goes_nowhere(router: Router) -> None:
    router.process_started("security")
    bitcoin = router.process_started("bitcoin")
    connection = router.open_connection(bitcoin, "os/security")
    asked = only_service(router.client_frame(connection, request(6)))
    cancel = [a for a in router.process_gone(bitcoin) if isinstance(a, ToService)]
    assert [a.frame.kind for a in cancel] == [Kind.CANCEL]
    # The next start of the app gets another instance and must not inherit the answer (ID-2).
    again = router.process_started("bitcoin")
    assert again != bitcoin
    router.open_connection(again, "os/security")
    assert router.service_frame("security", reply(asked.frame.correlation)) == []


@pytest.mark.guarantee("P-4", "S-6", tried="the reviewed table of holders against the manifests")
def test_secret_bearing_messages_have_exactly_the_reviewed_holders() -> None:
    table = builtin_table()
    holders: dict[str, set[str]] = {}
    for role, server, names in table.rows():
        if server == "os/security":
            for name in names:
                holders.setdefault(name, set()).add(role)
    assert holders == {
        "CertifyChannelKey": {"authenticator", "settings"},
        "GetState": {"app-manager", "settings", "ui"},
        "BeginSeed": {"ui"},
        "CommitSeed": {"ui"},
        "Login": {"ui"},
        "Logout": {"ui"},
        "ReportConfirmation": {"ui"},
        "WaitState": {"ui"},
        "ChangePin": {"ui"},
        "RevealWords": {"ui"},
        "Erase": {"ui"},
        "GetSecurityWords": {"ui"},
        "GetDeviceFacts": {"ui", "bitcoin"},
        "MakeCardBackup": {"ui"},
        "RestoreCardBackup": {"ui"},
        "ImportSeed": {"ui"},
        "AnswerSupplyChain": {"ui"},
        "GetWalletKeys": {"bitcoin"},
        "GetAnchor": {"bitcoin"},
        "SetAnchor": {"bitcoin"},
        "EndSession": {"bitcoin"},
        "GetStorageKey": {"storage"},
        "GetAppSeed": {
            "app-manager",
            "authenticator",
            "bitcoin",
            "link",
            "permissions",
            "settings",
        },
        "GetAccountXpub": {"bitcoin"},
        "TakeAccountKey": {"bitcoin"},
        "WaitUnlocked": {"airlock", "app-manager", "bitcoin", "calls", "permissions"},
    }


@pytest.mark.guarantee(
    "X-3", "P-10", tried="apps that wait together at a server until nothing more goes in"
)
def test_apps_that_wait_together_keep_neither_the_system_nor_a_modest_app_out() -> None:
    """Requests that wait for the unlocking stay in the queue: the lock screen must get through."""
    apps = [f"app-{number}" for number in range(8)]
    manifests = [
        *builtin_table().manifests.values(),
        *(
            dataclasses.replace(
                builtin_table().manifests["bitcoin"], role=app, app_id=app.encode().ljust(16)
            )
            for app in apps
        ),
    ]
    router = Router(PermissionTable(manifests))
    router.process_started("security")
    refused = 0
    for app in apps:
        connection = router.open_connection(router.process_started(app), "os/security")
        for number in range(MAX_PENDING_PER_CALLER):
            (action,) = router.client_frame(connection, request(6, number))
            refused += isinstance(action, ToClient)
    assert refused > 8 * MAX_PENDING_PER_CALLER // 2
    for role, number in (("bitcoin", 6), ("ui", 4), ("ui", 1), ("link", 6)):
        connection = router.open_connection(router.process_started(role), "os/security")
        only_service(router.client_frame(connection, request(number)))
