"""Fuzz all decoders, one after the other, for a given time in all; see `make fuzz`.

    python -m fuzz --seconds 60
    python -m fuzz --seconds 600 --only frames
    python -m fuzz --install

What was found is kept in build/fuzz: inputs that reach new code in `NAME/`, those that broke a
decoder in `found/`. The seeds in fuzz/corpus do not change.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fuzz.harnesses import HARNESSES, MAX_INPUT_BYTES

ROOT: Final = Path(__file__).parents[1]
SEEDS: Final = ROOT / "fuzz" / "corpus"
REACHED: Final = ROOT / "fuzz" / "reached"
"Short inputs of earlier runs that led to code which the seeds of their time did not lead to."
WORK: Final = ROOT / "build" / "fuzz"
SLOWEST_INPUT_S: Final = 5
"An input that takes longer is a finding."
MEMORY_MB: Final = 1024
START_S: Final = 20
"Time to import a harness, besides its share of the time."


def install() -> None:
    """Install what the group `fuzz` of pyproject.toml names; it is in no lock file."""
    if find_spec("atheris") is not None:
        return
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = project["dependency-groups"]["fuzz"]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, *wanted], check=True)  # noqa: S603 - our own list


def fuzz(name: str, seconds: int) -> tuple[bool, str]:
    """Fuzz one decoder; return whether it held, and a line about it."""
    work, found = WORK / name, WORK / "found"
    for folder in (work, found):
        folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fuzz.run", name]
    command += [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_INPUT_BYTES}",
        f"-timeout={SLOWEST_INPUT_S}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={found}/{name}-",
        "-print_final_stats=1",
        str(work),
        *(str(folder / name) for folder in (SEEDS, REACHED) if (folder / name).is_dir()),
    ]
    began = time.monotonic()
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds + START_S + SLOWEST_INPUT_S,
            check=False,
        )
        output, ok = done.stderr + done.stdout, done.returncode == 0
    except subprocess.TimeoutExpired as error:
        output, ok = (error.stderr or b"").decode(errors="replace"), False
    (WORK / f"{name}.log").write_text(output, encoding="utf-8")
    runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", output)
    coverage = re.findall(r"\bcov: (\d+)", output)
    tried, reached = int(runs[1]) if runs else 0, coverage[-1] if coverage else "?"
    took_s = time.monotonic() - began
    return ok, f"{name:<16} {tried:>9,} inputs, coverage {reached}, {took_s:.0f} s"


def main() -> None:
    """Fuzz, and end with status 1 when something was found."""
    parser = argparse.ArgumentParser(prog="fuzz", description="Fuzz every decoder.")
    parser.add_argument("--seconds", type=int, default=60, help="for all decoders together")
    parser.add_argument("--only", choices=sorted(HARNESSES), help="one decoder")
    parser.add_argument("--install", action="store_true", help="only install the fuzzer")
    options = parser.parse_args()
    install()
    if options.install:
        return
    names = [options.only] if options.only else list(HARNESSES)
    broken = []
    for name in names:
        ok, line = fuzz(name, max(1, options.seconds // len(names)))
        print(line if ok else f"{line}: BROKEN, see build/fuzz/{name}.log", flush=True)  # noqa: T201
        broken += [] if ok else [name]
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
