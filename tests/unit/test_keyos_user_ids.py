"""User ids: one for each app id, for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primegap.keyos.core.user_ids import FIRST_UID, LAST_UID, UserIds
from primegap.keyos.errors import SandboxError

app_ids = st.binary(min_size=16, max_size=16)


@given(asked=st.lists(app_ids, max_size=20))
def test_ids_are_unique_and_stay(
    tmp_path_factory: pytest.TempPathFactory, asked: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("ids") / "user-ids"
    first = UserIds(path).of(*asked)
    again = UserIds(path)
    assert again.of(*asked) == first
    assert len(set(first)) == len(set(asked))
    assert all(FIRST_UID <= uid <= LAST_UID for uid in first)
    (new,) = again.of(b"\xff" * 15 + b"\x00")
    assert new not in first or b"\xff" * 15 + b"\x00" in asked


def test_a_list_that_was_damaged_is_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "user-ids"
    for content in (b"x" * 17, b"y" * 32):
        path.write_bytes(content)
        with pytest.raises(SandboxError):
            UserIds(path)


def test_the_range_ends_and_nothing_is_written_then(tmp_path: Path) -> None:
    path = tmp_path / "user-ids"
    path.write_bytes(b"".join(n.to_bytes(16, "big") for n in range(LAST_UID - FIRST_UID)))
    ids = UserIds(path)
    assert ids.of(b"l" * 16) == [LAST_UID]
    before = path.read_bytes()
    with pytest.raises(SandboxError):
        ids.of(b"n" * 16)
    assert path.read_bytes() == before
