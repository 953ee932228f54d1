"""An app that claims to be others, and crashes while it holds a secret, in its real sandbox."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import pytest
from tests.e2e.device_support import device, eventually, make_data_directory, unlock
from tests.guarantees.other_hands import PACKAGE, in_other_hands
from tests.guarantees.plugin import Attempted
from tests.stored_seed import ENTROPY, store_seed

from primegap.keyos.core.builtin import builtin_table
from primegap.keyos.security.derivation import app_seed

IDS: Final = {role: m.app_id for role, m in builtin_table().manifests.items()}


@pytest.mark.timeout(300)
@pytest.mark.guarantee("ID-7", "ID-1", "M-2", tried="app seeds asked for with every id of others")
@pytest.mark.guarantee("S-1", tried="an app that crashes with its seed in memory: no dump, no line")
def test_a_seed_is_that_of_the_channel_and_dies_with_the_app(
    tmp_path: Path, attempted: Attempted
) -> None:
    data = tmp_path / "device"
    tmp_path.chmod(0o755)
    make_data_directory(data)
    store_seed(data)
    with (
        in_other_hands(
            tmp_path / "other",
            taken={"bitcoin": f"{PACKAGE}.thief:main"},
            config={"bitcoin": {"others": [identifier.hex() for identifier in IDS.values()]}},
        ),
        device(data) as running,
    ):
        unlock(running)
        running.event("process-ready", "bitcoin")
        (data / "bitcoin/go-steal").touch()
        report = data / "bitcoin/stolen.json"
        answers = json.loads(eventually(report.read_text, 60))["answers"]
        report.unlink()
        (data / "bitcoin/go-crash").touch()
        running.event("process-ended", "bitcoin")
        journal = running.journal
    own = app_seed(IDS["bitcoin"], ENTROPY).hex()
    assert set(answers.values()) <= {own, "refused"}
    assert own in answers.values()
    attempted(len(answers))
    # The crash is told by its status; nothing of the memory is in a line or a file.
    assert own not in journal
    for path in tmp_path.rglob("*"):
        assert "core" not in path.name.split(".") or path.suffix == ".py" or path.is_dir()
        if path.is_file() and path.stat().st_size < 64 << 20:
            content = path.read_bytes()
            assert bytes.fromhex(own) not in content
            assert own.encode() not in content
    assert os.path.exists(data)
