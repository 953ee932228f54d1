"""The microSD card: a FAT file system without a mount, and the service that apps reach it by."""

from __future__ import annotations
