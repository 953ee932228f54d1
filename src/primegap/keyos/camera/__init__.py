"""The camera: reads QR codes out of pictures, in a process without secrets."""

from __future__ import annotations
