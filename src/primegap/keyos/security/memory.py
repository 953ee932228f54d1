"""A buffer for a long-lived secret: outside swap, dumps and, where possible, the kernel's own map.

First choice is `memfd_secret(2)`: pages that only this process can reach, not even the kernel
through its direct map. Where the kernel lacks it, anonymous memory that is locked (no swap), left
out of core dumps and zeroed in children. The buffer is overwritten when it is wiped (S-8, H-1).

Copies that Python makes on the way in and out cannot be wiped; so they are few and short-lived, and
the process that made them ends when the device is locked (keyos-model, section 16.6).
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from hmac import compare_digest
from typing import TYPE_CHECKING, Final, NoReturn

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

_SYS_MEMFD_SECRET: Final = 447  # the same on every architecture
_MADV_DONTDUMP: Final = 16
_MADV_WIPEONFORK: Final = 18
_libc: Final = ctypes.CDLL(None, use_errno=True)


class SecretBuffer:
    """Secret bytes of a fixed length in memory of their own.

    Shows nothing in its repr, cannot be pickled or copied, compares in constant time.
    """

    __slots__ = ("_map", "_size", "protection")
    __hash__ = None  # type: ignore[assignment]  # a hash would be a fingerprint of the secret

    def __init__(self, secret: bytes | bytearray | memoryview) -> None:
        """Take over a secret; a `bytearray` is wiped, so that this is the only copy."""
        self._size = len(secret)
        self._map: mmap.mmap | None
        self._map, self.protection = _private_memory(max(1, self._size))
        self._map[: self._size] = bytes(secret)
        if isinstance(secret, bytearray):
            wipe(secret)

    def __len__(self) -> int:
        return self._size

    @override
    def __repr__(self) -> str:
        return f"<SecretBuffer {self._size} bytes>"

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretBuffer) or self._map is None or other._map is None:
            return False
        with self.view() as ours, other.view() as theirs:
            return compare_digest(ours, theirs)

    @override
    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets are never serialised")

    @contextlib.contextmanager
    def view(self) -> Iterator[memoryview]:
        """Lend the bytes themselves, without a copy, for the time of a block.

        Raises:
            ValueError: the buffer was wiped.
        """
        if self._map is None:
            raise ValueError("a wiped secret was asked for")
        with memoryview(self._map) as whole, whole[: self._size].toreadonly() as view:
            yield view

    def wipe(self) -> None:
        """Overwrite and give back the memory; a second time does nothing."""
        if self._map is not None:
            self._map[:] = bytes(len(self._map))
            with contextlib.suppress(BufferError):  # lent at this moment: it is zero already
                self._map.close()
            self._map = None


def wipe(secret: bytearray | None) -> None:
    """Overwrite a bytearray."""
    if secret is not None:
        secret[:] = bytes(len(secret))


def _private_memory(size: int) -> tuple[mmap.mmap, str]:
    """Return zeroed memory and how it is protected: `secret`, `locked` or `plain`."""
    fd = int(_libc.syscall(ctypes.c_long(_SYS_MEMFD_SECRET), ctypes.c_uint(os.O_CLOEXEC)))
    if fd >= 0:
        try:
            os.ftruncate(fd, size)
            return mmap.mmap(fd, size), "secret"
        except OSError:
            pass  # no room within the limit of locked memory
        finally:
            os.close(fd)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for advice in (_MADV_DONTDUMP, _MADV_WIPEONFORK):
        with contextlib.suppress(OSError):
            memory.madvise(advice)
    here = ctypes.c_char.from_buffer(memory)
    locked = _libc.mlock(ctypes.byref(here), ctypes.c_size_t(size)) == 0
    del here  # its export would keep the memory from being given back
    return memory, "locked" if locked else "plain"
