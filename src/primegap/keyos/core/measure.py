"""Has the support level measured, in a process apart: core itself gives nothing up for a trial."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Final

from primegap.keyos.core.builtin import PACKAGE
from primegap.keyos.sandbox.support import Level, Support, judge, parse_findings

if TYPE_CHECKING:
    from collections.abc import Sequence

PROBE: Final = PACKAGE / "keyos/sandbox/probe.py"
MAX_PROBE_S: Final = 60.0
NOT_MEASURED: Final = Support((), Level.UNKNOWN)


async def measure(python_path: Sequence[str]) -> Support:
    """Run the probe; one that fails or does not end has proved nothing: level 3."""
    probe = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        "-B",
        str(PROBE),
        *python_path,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"LC_ALL": "C.UTF-8"},
        cwd="/",
    )
    try:
        async with asyncio.timeout(MAX_PROBE_S):
            output, _ = await probe.communicate()
        return judge(parse_findings(json.loads(output)))
    except (TimeoutError, ValueError, TypeError):
        return judge(())
    finally:
        if probe.returncode is None:
            probe.kill()
            await probe.wait()
