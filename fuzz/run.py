"""Run one harness under atheris: `python -m fuzz.run NAME [options of libFuzzer] [folders]`."""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

from fuzz.harnesses import HARNESSES


def main() -> None:
    """Instrument what the harness imports, then fuzz it."""
    name, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["primegap"]):
        run = HARNESSES[name]()
    atheris.Setup([sys.argv[0], *options], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
