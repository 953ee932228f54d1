"""`python -m primegap.cli`."""

from __future__ import annotations

from primegap.cli import main

if __name__ == "__main__":
    main()
