"""Published values of the chip's checksum and challenge (radio.md sections 6.3 and 10)."""

from __future__ import annotations

import pytest

from primegap.radio.chip_memory import challenge_result
from primegap.radio.crc32c import crc32c


def test_the_check_value_of_crc_32c() -> None:
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.scenario("radio", 7)
def test_the_challenge_vector() -> None:
    result = challenge_result(bytes(range(32)), 0x0123456789ABCDEF)
    assert result.hex() == "5bb1ef93888227e2e83691de2504db341e618bce91c3c4f97f9d23a54cdac825"
