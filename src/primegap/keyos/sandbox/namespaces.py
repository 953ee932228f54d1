"""Namespaces and the file tree a process sees: a new, nearly empty root.

As root the process gets a user id of its own from a reserved range; as an ordinary user it gets a
user namespace and keeps its id. Either way it has its own mount, process, network, IPC and host
name namespaces: no network device (not even a usable loopback), no other process, no /proc.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

from primegap.keyos.errors import SandboxError
from primegap.keyos.sandbox import libc

_STAGE: Final = "/tmp"  # any directory: the new root is mounted over it, in our namespace only  # noqa: S108
DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/urandom")
_TMP_OPTIONS: Final = "size=16m,nr_inodes=512,mode=1777"
_ROOT_OPTIONS: Final = "size=1m,nr_inodes=4096,mode=755"
DATA: Final = (
    "/.primegap/data"  # not /data or /tmp: the program itself may be installed below those
)
SCRATCH: Final = "/.primegap/scratch"
APP: Final = "/.primegap/app"
IMAGE: Final = APP + "/image.zip"
"Code of an installed app: a copy of the sealed object, on a read-only file system of its own."
HOST_NAME: Final = "primegap"


def enter_namespaces(*, as_root: bool) -> None:
    """Leave the host's namespaces; the next fork is process 1 of a new process namespace."""
    flags = (
        libc.CLONE_NEWNS
        | libc.CLONE_NEWPID
        | libc.CLONE_NEWNET
        | libc.CLONE_NEWIPC
        | libc.CLONE_NEWUTS
        | libc.CLONE_NEWCGROUP
    )
    if as_root:
        libc.unshare(flags)
        return
    uid, gid = os.getuid(), os.getgid()
    try:
        libc.unshare(flags | libc.CLONE_NEWUSER)
    except SandboxError as error:
        raise SandboxError(
            f"{error}. Allow unprivileged user namespaces "
            "(sysctl kernel.unprivileged_userns_clone=1 and, with AppArmor, "
            "kernel.apparmor_restrict_unprivileged_userns=0) "
            "or start the device as root"
        ) from error
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    except OSError as error:
        raise SandboxError(f"cannot map the user id: {error.strerror}") from error


def build_root(
    read_only: list[str],
    links: dict[str, str],
    data: str | None,
    devices: list[str],
    image: int | None,
) -> None:
    """Make the new root and move into it: `read_only` trees, own folder, scratch, some devices.

    `links` are symbolic links of the new root, path to target (`/lib` is one on most systems).
    """
    libc.mount(None, "/", None, libc.MS_REC | libc.MS_PRIVATE, None)
    # Everything to be shown is opened first: the stage hides what lies below it on the host.
    sources = {
        path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in [*read_only, *DEVICES, *devices]
    }
    if data is not None:
        sources[DATA] = os.open(data, os.O_PATH | os.O_CLOEXEC)
    libc.mount("tmpfs", _STAGE, "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, _ROOT_OPTIONS)
    for path, fd in sources.items():
        target = _STAGE + path
        source = f"/proc/self/fd/{fd}"
        is_directory = Path(source).is_dir()
        _make_mount_point(target, is_directory=is_directory)
        libc.mount(source, target, None, libc.MS_BIND | libc.MS_REC, None)
        libc.restrict_mounts(target, _attributes(path, path in (*DEVICES, *devices)))
        os.close(fd)
    for link, target in links.items():
        Path(_STAGE + link).symlink_to(target)
    _make_mount_point(_STAGE + SCRATCH, is_directory=True)
    libc.mount(
        "tmpfs",
        _STAGE + SCRATCH,
        "tmpfs",
        libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC,
        _TMP_OPTIONS,
    )
    if image is not None:
        _show_image(image)
    old = _STAGE + "/.host"
    Path(old).mkdir()
    os.chdir(_STAGE)
    libc.pivot_root(_STAGE, old)
    os.chdir("/")
    libc.umount_detach("/.host")
    Path("/.host").rmdir()
    libc.mount(
        None,
        "/",
        None,
        libc.MS_REMOUNT | libc.MS_RDONLY | libc.MS_NOSUID | libc.MS_NODEV,
        _ROOT_OPTIONS,
    )


def _show_image(image: int) -> None:
    """Put the bytes of a sealed object where the interpreter finds them; closes the object."""
    size = os.fstat(image).st_size
    _make_mount_point(_STAGE + APP, is_directory=True)
    flags = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
    options = f"size={size + 65536},nr_inodes=8,mode=755"
    libc.mount("tmpfs", _STAGE + APP, "tmpfs", flags, options)
    with open(_STAGE + IMAGE, "xb", opener=lambda path, how: os.open(path, how, 0o444)) as file:
        while file.tell() < size:
            os.sendfile(file.fileno(), image, file.tell(), size - file.tell())
            file.seek(0, os.SEEK_END)
    os.close(image)
    libc.mount(None, _STAGE + APP, None, flags | libc.MS_REMOUNT | libc.MS_RDONLY, options)


def _make_mount_point(target: str, *, is_directory: bool) -> None:
    path = Path(target)
    if is_directory:
        path.mkdir(parents=True, exist_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _attributes(path: str, is_device: bool) -> int:
    """What a mount is denied: the own folder is not executed, everything else is not written."""
    if is_device:
        return libc.MOUNT_ATTR_NOSUID | libc.MOUNT_ATTR_NOEXEC
    attributes = libc.MOUNT_ATTR_NOSUID | libc.MOUNT_ATTR_NODEV
    return attributes | (libc.MOUNT_ATTR_NOEXEC if path == DATA else libc.MOUNT_ATTR_RDONLY)


def hide_host_name() -> None:
    """Give this host name namespace a name that says nothing about the host."""
    socket.sethostname(HOST_NAME)


def become(uid: int, gid: int) -> None:
    """Take the process's own user and group id and no other group."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
