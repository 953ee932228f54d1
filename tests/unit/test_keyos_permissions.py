"""What installed apps may obtain: catalogue, verdicts, parked requests, grants, revocation."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primegap.keyos.core.builtin import builtin_manifests, builtin_table
from primegap.keyos.core.router import (
    MAX_PARKED,
    MAX_PARKED_PER_CALLER,
    Action,
    DropParked,
    Park,
    Router,
    ToClient,
    ToService,
)
from primegap.keyos.errors import ManifestError, Status
from primegap.keyos.frame import Frame, Kind, Trust
from primegap.keyos.manifest import (
    CATALOGUE,
    Approval,
    Manifest,
    PermissionTable,
    Signature,
    Verdict,
    parse_manifest_untrusted,
)
from primegap.keyos.permissions.book import MAX_POSTPONED, Book, Choice
from primegap.keyos.storage import SealedFile, UnreadableError
from primegap.keyos.ui import screens
from primegap.keyos.ui.layout import layout

CAMERA = "peripherals.camera-use"
SEED = "device-secrets.app-scoped-seed"
CODE = 1  # os/camera NextCode
APP_SEED, WAIT_UNLOCKED = 6, 10  # os/security


def app(role: str = "guest", permissions: str = '"os/camera" = ["NextCode"]') -> Manifest:
    text = f"""
appId = "0x{role.encode().hex():0>32}"
role = "{role}"
name = "Guest"
entry = "guest.app:main"
profile = "app"
[permissions]
{permissions}
"""
    return parse_manifest_untrusted(text.encode())


def table(*installed: Manifest) -> PermissionTable:
    return PermissionTable(builtin_manifests(), installed=installed)


# -- the table ----------------------------------------------------------------------------------


@pytest.mark.guarantee(
    "P-5",
    "P-7",
    tried="every message of every built-in server, named by an installed app's manifest",
)
@pytest.mark.guarantee("P-5", tried="every built-in message named by an installed app")
def test_only_catalogued_messages_can_be_obtained_by_installed_apps() -> None:
    """Every message of every built-in server, as an installed app's manifest names it."""
    outcomes: dict[str, set[str]] = {"allow": set(), "ask": set(), "refused": set()}
    for manifest in builtin_manifests():
        for server, messages in manifest.servers.items():
            for name in messages:
                access = manifest.access[server][name]
                guest = app(permissions=f'"{server}" = ["{name}"]')
                try:
                    found = table(guest).judge("guest", server, messages[name]).value
                except ManifestError:
                    found = "refused"
                outcomes[found].add(f"{server} {name}")
                grantable = access.approval is not Approval.NOT_USER_GRANTABLE
                assert (found != "refused") == (
                    grantable and access.signature is Signature.THIRD_PARTY
                )
                assert access.group is not None or found == "refused"
    assert {"os/camera NextCode", "os/security GetAppSeed"} <= outcomes["ask"]
    assert "os/ui Present" in outcomes["allow"]
    assert {
        "os/security TakeAccountKey",
        "os/core SetSwitch",
        "os/calls NextCall",
        "os/ui AskPermission",
        "os/permissions RevokeGrant",
        "os/core AnswerPermissionRequest",
    } <= outcomes["refused"]


@pytest.mark.guarantee("P-3", tried="unknown rules of a message")
@pytest.mark.parametrize(
    "entry",
    [
        '{ id = 1, permissionGroup = "peripherals.everything", approval = "autoAllow" }',
        '{ id = 1, approval = "autoAllow" }',
        '{ id = 1, permissionGroup = "peripherals.camera-use", approval = "always" }',
        '{ id = 1, permissionGroup = "peripherals.camera-use", requiredSignature = "anybody" }',
        '{ id = 1, permissionGroup = "peripherals.camera-use", risk = "low" }',
        '{ permissionGroup = "peripherals.camera-use" }',
        "{ id = 1, permissionGroup = [], approval = {} }",
        '{ id = 1, permissionGroup = "peripherals.camera-use", approval = "autoAllow", '
        'requiredSignature = "foundation" }',
        "0",
    ],
)
def test_a_message_with_unknown_rules_is_refused_with_its_manifest(entry: str) -> None:
    text = f"""
appId = "0x{0:032x}"
role = "guest"
name = "Guest"
entry = "guest.app:main"
profile = "app"
[servers."app/guest"]
Ask = {entry}
"""
    with pytest.raises(ManifestError):
        parse_manifest_untrusted(text.encode())


@pytest.mark.guarantee(
    "P-6", "U-2", tried="installed manifests that claim to be system, critical, first"
)
def test_an_installed_app_is_no_part_of_the_system() -> None:
    guest = app()
    for stolen in (
        dataclasses.replace(guest, system=True),
        dataclasses.replace(guest, critical=True),
        dataclasses.replace(guest, servers={"os/guest": {"Ask": 1}}),
        dataclasses.replace(guest, app_id=builtin_manifests()[0].app_id),
        dataclasses.replace(guest, role="security"),
    ):
        with pytest.raises(ManifestError):
            table(stolen)


@pytest.mark.guarantee("A-8", tried="an app removed from the table")
def test_an_app_comes_and_goes_and_leaves_nothing() -> None:
    full = table()
    before = full.effective()
    full.install(app())
    assert full.judge("guest", "os/camera", CODE) is Verdict.ASK
    assert full.trust("guest") is Trust.INSTALLED_APP
    with pytest.raises(ManifestError):
        full.install(app("other", '"os/camera" = ["NextCode", "Nothing"]'))
    full.remove("guest")
    assert full.effective() == before
    assert full.judge("guest", "os/camera", CODE) is Verdict.DENY
    with pytest.raises(ManifestError):
        full.remove("bitcoin")


def test_every_subgroup_fits_its_prompt() -> None:
    for name, permission in CATALOGUE.items():
        assert name.count(".") == 1
        layout(screens.ask_permission("W" * 60, permission))


# -- parked requests ----------------------------------------------------------------------------


def request(message_id: int, correlation: int, payload: bytes = b"") -> Frame:
    return Frame(kind=Kind.REQUEST, message_id=message_id, correlation=correlation, payload=payload)


class Bench:
    """A router with a camera and two guests."""

    def __init__(self) -> None:
        self.router = Router(
            table(
                app(permissions='"os/camera" = ["NextCode"]\n"os/security" = ["GetAppSeed"]'),
                app("other"),
            )
        )
        self.camera = self.router.process_started("camera")
        self.router.process_started("security")
        self.guest = self.router.process_started("guest")
        self.connection = self.router.open_connection(self.guest, "os/camera")

    def park(self, correlation: int = 1, connection: int | None = None) -> int:
        actions = self.router.client_frame(
            self.connection if connection is None else connection, request(CODE, correlation)
        )
        (action,) = actions
        assert isinstance(action, Park)
        return action.number


def statuses(actions: list[Action]) -> list[tuple[int, int]]:
    return [(a.frame.correlation, a.frame.words[0]) for a in actions if isinstance(a, ToClient)]


def delivered(actions: list[Action]) -> list[ToService]:
    return [a for a in actions if isinstance(a, ToService) and a.frame.kind is Kind.REQUEST]


@pytest.mark.guarantee("R-2", "P-7", tried="requests before the answer")
def test_nothing_reaches_the_service_before_the_person_agreed() -> None:
    bench = Bench()
    number = bench.park()
    assert bench.router.take_up(number) == ("guest", bench.guest, CAMERA)
    (action,) = delivered(bench.router.answer_parked(number, allow=True))
    assert (action.role, action.parked) == ("camera", number)
    assert action.caller.trust is Trust.INSTALLED_APP
    # Granted: the next one passes at once; another subgroup and another app are still asked about.
    assert delivered(bench.router.client_frame(bench.connection, request(CODE, 2)))
    security = bench.router.open_connection(bench.guest, "os/security")
    assert isinstance(bench.router.client_frame(security, request(APP_SEED, 1))[0], Park)
    other = bench.router.open_connection(bench.router.process_started("other"), "os/camera")
    assert isinstance(bench.router.client_frame(other, request(CODE, 1))[0], Park)


@pytest.mark.guarantee(
    "R-1", tried="a promptable message in every kind of frame that does not wait"
)
def test_only_a_request_that_waits_asks_the_person() -> None:
    """A frame that wants no answer is no request here; one that is taken back asks nobody."""
    bench = Bench()
    for kind in Kind:
        if kind is not Kind.REQUEST:
            frame = Frame(kind=kind, message_id=CODE, correlation=1)
            actions = bench.router.client_frame(bench.connection, frame)
            assert not [a for a in actions if isinstance(a, Park | ToService)], kind
    number = bench.park()
    bench.router.client_frame(bench.connection, Frame(kind=Kind.CANCEL, correlation=1))
    assert bench.router.take_up(number) is None
    assert bench.router.answer_parked(number, allow=True) == []


def test_a_refusal_ends_all_that_wait_for_the_same() -> None:
    bench = Bench()
    numbers = [bench.park(correlation) for correlation in (1, 2, 3)]
    actions = bench.router.answer_parked(numbers[1], allow=False)
    assert sorted(statuses(actions)) == [(n, Status.DENIED) for n in (1, 2, 3)]
    assert sorted(a.number for a in actions if isinstance(a, DropParked)) == numbers
    assert bench.router.answer_parked(numbers[0], allow=True) == []


@pytest.mark.guarantee("R-5", "ID-2", tried="a late yes after each way of being gone")
@pytest.mark.parametrize("end", ["sender", "server", "connection", "cancelled"])
def test_a_late_yes_changes_nothing_for_who_is_gone(end: str) -> None:
    bench = Bench()
    number = bench.park()
    match end:
        case "sender":
            actions = bench.router.process_gone(bench.guest)
            again = bench.router.process_started("guest")
            bench.router.open_connection(again, "os/camera")
        case "server":
            actions = bench.router.process_gone(bench.camera)
            assert statuses(actions) == [(1, Status.SERVER_GONE)]
            bench.router.process_started("camera")
        case "connection":
            actions = bench.router.connection_closed(bench.connection)
        case _:
            actions = bench.router.client_frame(
                bench.connection, Frame(kind=Kind.CANCEL, correlation=1)
            )
    assert DropParked(number) in actions
    assert bench.router.answer_parked(number, allow=True) == []
    if end == "cancelled":
        bench.router.revoke("guest", CAMERA)
        assert bench.router.take_up(bench.park()) is not None


@pytest.mark.guarantee("R-2", "X-3", tried="more parked requests than there is room")
@pytest.mark.guarantee("R-2", tried="more requests than may wait")
def test_the_table_of_parked_requests_is_bounded_for_one_and_for_all() -> None:
    guests = [app(f"guest-{n}") for n in range(MAX_PARKED // MAX_PARKED_PER_CALLER + 1)]
    router = Router(table(*guests))
    router.process_started("camera")
    outcomes = []
    for guest in guests:
        connection = router.open_connection(router.process_started(guest.role), "os/camera")
        for correlation in range(MAX_PARKED_PER_CALLER + 1):
            (action,) = router.client_frame(connection, request(CODE, correlation))
            outcomes.append(isinstance(action, Park))
            if isinstance(action, ToClient):
                assert action.frame.words[0] == Status.BUSY
    assert outcomes.count(True) == MAX_PARKED
    assert outcomes[MAX_PARKED_PER_CALLER] is False


def test_a_tombstone_keeps_its_place_until_somebody_looks() -> None:
    bench = Bench()
    number = bench.park()
    bench.router.connection_closed(bench.connection)
    assert bench.router.take_up(number) is None
    assert bench.router.take_up(number) is None


@pytest.mark.guarantee("P-9", tried="a revocation in the middle of traffic")
@pytest.mark.guarantee("P-9", tried="a grant taken back in the middle of traffic")
def test_a_revocation_stops_the_next_message_and_the_waiting_one() -> None:
    """On the same connection, in the middle of traffic."""
    bench = Bench()
    bench.router.answer_parked(bench.park(), allow=True)
    (waiting,) = delivered(bench.router.client_frame(bench.connection, request(CODE, 2)))
    actions = bench.router.revoke("guest", CAMERA)
    assert sorted(statuses(actions)) == [(1, Status.DENIED), (2, Status.DENIED)]
    cancels = [a for a in actions if isinstance(a, ToService)]
    assert {a.frame.kind for a in cancels} == {Kind.CANCEL}
    late = Frame(kind=Kind.REPLY, correlation=waiting.frame.correlation)
    assert bench.router.service_frame("camera", late) == []
    bench.park(3)


@pytest.mark.guarantee("P-9", tried="a correlation used again behind a tombstone")
def test_a_tombstone_hides_no_request_that_a_revocation_must_stop() -> None:
    """Of two requests with one correlation only one could be cancelled: the second is refused."""
    bench = Bench()
    bench.park(5)
    bench.router.client_frame(bench.connection, Frame(kind=Kind.CANCEL, correlation=5))
    number = bench.park(5)
    actions = bench.router.client_frame(bench.connection, request(CODE, 5))
    assert statuses(actions) == [(5, Status.MALFORMED)]
    cut = bench.router.cut_frame(bench.connection, Kind.REQUEST, CODE, 5)
    assert statuses(cut) == [(5, Status.MALFORMED)]
    passed = delivered(bench.router.answer_parked(number, allow=True))
    bench.router.revoke("guest", CAMERA)
    for action in passed:
        late = Frame(kind=Kind.REPLY, correlation=action.frame.correlation)
        assert bench.router.service_frame("camera", late) == []


@pytest.mark.guarantee("R-4", tried="the broker killed under its prompt")
@pytest.mark.guarantee("R-4", tried="the broker gone with requests waiting")
def test_a_broker_that_is_gone_has_denied() -> None:
    """Whatever waited is refused, and what was granted is asked for again."""
    bench = Bench()
    bench.router.answer_parked(bench.park(), allow=True)
    security = bench.router.open_connection(bench.guest, "os/security")
    bench.router.client_frame(security, request(APP_SEED, 9))
    assert statuses(bench.router.broker_gone()) == [(9, Status.DENIED)]
    bench.park(4)


@pytest.mark.guarantee(
    "P-7", "R-5", tried="random orders of requests, answers, deaths and revocations"
)
@pytest.mark.guarantee("P-7", "R-5", tried="requests, answers, revocations, restarts in any order")
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["ask", "yes", "no", "revoke", "cancel", "restart", "broker"]),
            st.integers(0, 5),
        ),
        max_size=40,
    )
)
def test_no_order_of_events_delivers_what_is_not_granted(steps: list[tuple[str, int]]) -> None:
    """An independent account of what the person said, against what is delivered."""
    bench = Bench()
    router = bench.router
    granted = False
    parked: list[tuple[int, int]] = []  # number, instance
    correlation = 100
    for what, choice in steps:
        actions: list[Action] = []
        may = set()
        if what == "ask":
            correlation += 1
            actions = router.client_frame(bench.connection, request(CODE, correlation))
            may = {bench.guest} if granted else set()
            parked += [(a.number, bench.guest) for a in actions if isinstance(a, Park)]
        elif what in ("yes", "no") and parked:
            number, instance = parked[choice % len(parked)]
            known = router.take_up(number) is not None
            actions = router.answer_parked(number, allow=what == "yes")
            granted = granted or (known and what == "yes")
            may = {instance} if known and what == "yes" else set()
        elif what == "revoke":
            router.revoke("guest", CAMERA)
            granted = False
        elif what == "cancel":
            router.client_frame(
                bench.connection, Frame(kind=Kind.CANCEL, correlation=correlation - choice)
            )
        elif what == "restart":
            router.process_gone(bench.guest)
            bench.guest = router.process_started("guest")
            bench.connection = router.open_connection(bench.guest, "os/camera")
        elif what == "broker":
            router.broker_gone()
            granted = False
        for action in delivered(actions):
            assert action.caller.instance in may
            assert action.caller.instance == bench.guest  # never one that is gone
            reply = Frame(kind=Kind.REPLY, correlation=action.frame.correlation)
            router.service_frame("camera", reply)


# -- decisions ----------------------------------------------------------------------------------

GUEST = bytes(16)


@pytest.mark.guarantee("R-6", tried="the same request after each choice")
def test_decisions_are_kept_by_app_and_subgroup_and_not_now_by_run() -> None:
    book = Book()
    assert book.decided(GUEST, 1, CAMERA) is None
    assert not book.note(GUEST, 1, CAMERA, "Guest", Choice.NOT_NOW)
    assert book.decided(GUEST, 1, CAMERA) is False
    assert book.decided(GUEST, 2, CAMERA) is None
    assert book.note(GUEST, 2, CAMERA, "Guest", Choice.ALWAYS)
    assert book.note(GUEST, 2, SEED, "Guest", Choice.NEVER)
    book = Book.decode(book.encode())
    assert book.decided(GUEST, 3, CAMERA) is True
    assert book.decided(GUEST, 3, SEED) is False
    assert book.decided(b"x" * 16, 3, CAMERA) is None
    assert book.revoke(GUEST, CAMERA)
    assert not book.revoke(GUEST, CAMERA)
    assert book.decided(GUEST, 3, CAMERA) is None
    assert book.forget(GUEST) == [SEED]
    assert book.entries == {}


def test_postponed_decisions_are_bounded() -> None:
    book = Book()
    for instance in range(MAX_POSTPONED + 1):
        book.note(GUEST, instance, CAMERA, "Guest", Choice.NOT_NOW)
    assert book.decided(GUEST, 0, CAMERA) is None
    assert book.decided(GUEST, MAX_POSTPONED, CAMERA) is False


@pytest.mark.guarantee("R-7", tried="the file of grants altered, exchanged, of another seed")
@pytest.mark.guarantee("R-7", tried="every byte of the stored grants altered; another seed")
def test_a_file_of_grants_that_was_altered_or_belongs_to_another_seed_grants_nothing(
    tmp_path: Path,
) -> None:
    book = Book()
    book.note(GUEST, 1, CAMERA, "Guest", Choice.ALWAYS)
    file = SealedFile(tmp_path, "grants", b"s" * 32)
    file.write(book.encode())
    good = (tmp_path / "grants").read_bytes()
    assert CAMERA.encode() not in good
    for position in range(len(good)):
        altered = bytearray(good)
        altered[position] ^= 1
        (tmp_path / "grants").write_bytes(altered)
        with pytest.raises(UnreadableError):
            file.read()
    (tmp_path / "grants").write_bytes(good)
    with pytest.raises(UnreadableError):
        SealedFile(tmp_path, "grants", b"t" * 32).read()


@given(st.binary(max_size=200))
def test_a_book_of_any_bytes_is_a_book_or_unreadable(data: bytes) -> None:
    try:
        Book.decode(data)
    except UnreadableError:
        return


def test_the_built_in_table_asks_nobody() -> None:
    assert {row.verdict for row in builtin_table().effective()} == {Verdict.ALLOW}
