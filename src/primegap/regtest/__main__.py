"""Run the private chain as a process of its own: `python -m primegap.regtest --data-dir DIR`.

When it is ready it prints one JSON line on stdout, `{"ready": {…}}` with the fields of
`NodeStatus`, and runs until SIGINT, SIGTERM, a `stop` on its control socket, or (with
`--until-stdin-closes`) until whoever started it is gone. If it cannot start it prints
`{"error": {"code", "message", "hint"}}` on stdout and the same in words on stderr, and ends with
status 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import json
import logging
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

from primegap.regtest.errors import RegtestError
from primegap.regtest.node import DEFAULT_INITIAL_BLOCKS, RegtestNode

DEFAULT_ELECTRUM_PORT: Final = 60401  # what Electrum servers use on regtest


def main() -> int:
    """Parse the command line, run the node and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m primegap.regtest",
        description="A private bitcoin chain with an Electrum server, validated by Bitcoin Core's "
        "engine.",
    )
    parser.add_argument("--data-dir", type=Path, required=True, help="where the chain is kept")
    parser.add_argument(
        "--electrum-port",
        type=int,
        default=DEFAULT_ELECTRUM_PORT,
        help="TCP port on loopback, 0 for any free one (default %(default)s)",
    )
    parser.add_argument(
        "--initial-blocks",
        type=int,
        default=DEFAULT_INITIAL_BLOCKS,
        help="grow a shorter chain to this height first (default %(default)s)",
    )
    parser.add_argument(
        "--rebuild", action="store_true", help="restore a damaged directory from what is intact"
    )
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="stop when standard input ends"
    )
    parser.add_argument(
        "--log-level",
        default="WARNING",
        choices=["DEBUG", "INFO", "WARNING", "ERROR"],
        help="what goes to stderr; DEBUG includes the engine's own log (default %(default)s)",
    )
    options = parser.parse_args()
    logging.basicConfig(
        level=options.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        asyncio.run(_serve(options))
    except RegtestError as error:
        problem = {"code": error.code, "message": str(error), "hint": error.hint}
        _write_line({"error": problem})
        sys.stderr.write(f"{error}\n{error.hint}\n")
        return 1
    return 0


async def _serve(options: argparse.Namespace) -> None:
    node = RegtestNode(
        options.data_dir,
        electrum_port=options.electrum_port,
        initial_blocks=options.initial_blocks,
        rebuild=options.rebuild,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, node.ask_to_stop)
    if options.until_stdin_closes:
        try:
            loop.add_reader(sys.stdin.fileno(), _on_stdin, loop, node)
        except PermissionError:  # a file or /dev/null: nothing to wait for, it ends at once
            node.ask_to_stop()
    async with node:
        _write_line({"ready": asdict(await node.status())})
        # The first payment would wait for this; nobody waits for it here.
        with contextlib.suppress(ImportError):
            await asyncio.to_thread(importlib.import_module, "bdkpython")
        await node.wait_until_asked_to_stop()


def _on_stdin(loop: asyncio.AbstractEventLoop, node: RegtestNode) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        node.ask_to_stop()


def _write_line(value: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
