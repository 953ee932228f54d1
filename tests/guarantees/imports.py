"""What each process of the device may import: reviewed here, watched by a hook in the test."""

from __future__ import annotations

from typing import Final

COMMON: Final = (
    "cbor2",
    "typing_extensions",
    "primegap.keyos.api",
    "primegap.keyos.channel",
    "primegap.keyos.errors",
    "primegap.keyos.frame",
    "primegap.keyos.manifest",
    "primegap.keyos.messages",
    "primegap.keyos.process",
    "primegap.keyos.sandbox",
    "primegap.secrecy",
)
"What launch, channels and messages need."
_SEALED: Final = ("cryptography", "_cffi_backend", "primegap.files", "primegap.keyos.storage")
_APP: Final = (
    *_SEALED,
    *("primegap.keyos.client", "primegap.keyos.between", "primegap.keyos.ui"),
    "primegap.quantumlink",  # channels between apps use its key encapsulation and record cipher
    *("primegap.bitcoin.amounts", "primegap.bitcoin.errors", "primegap.bitcoin.networks"),
)
_PICTURES: Final = ("PIL", "zxingcpp", "primegap.airgap")
_SERVER: Final = (
    *("starlette", "uvicorn", "websockets", "anyio", "h11", "click", "python_multipart"),
    *("sniffio", "a2wsgi", "watchfiles", "org"),  # asked for by the server if present
)

IMPORTS: Final[dict[str, tuple[str, ...]]] = {
    "security": (
        *("cryptography", "_cffi_backend", "primegap.files", "primegap.keyos.security"),
        *("bdkpython", "primegap.base58", "primegap.bitcoin"),
        *("primegap.keyos.between", "primegap.quantumlink"),  # it issues the certificates of apps
    ),
    "ui": (
        *_PICTURES,
        *("fontpkg_inter", "fontpkg_jetbrains_mono", "primegap.files", "primegap.keyos.ui"),
        *("primegap.bitcoin.amounts", "primegap.bitcoin.errors", "primegap.bitcoin.networks"),
        "primegap.keyos.core.builtin",
    ),
    "panel": (
        *_SERVER,
        *("primegap.device.errors", "primegap.device.panel"),
        *("primegap.web.connections", "primegap.web.device_page", "primegap.web.security"),
        *("primegap.keyos.bundle", "primegap.cosign"),  # names of errors only
    ),
    "camera": (*_PICTURES, "primegap.keyos.camera"),
    "link": (
        *_SEALED,
        *("primegap.quantumlink", "primegap.btp", "primegap.linktrace", "primegap.keyos.link"),
        *("primegap.radio", "primegap.cosign"),  # the driver of the chip; never its stack, bumble
        *("primegap.bitcoin.amounts", "primegap.bitcoin.errors", "primegap.bitcoin.networks"),
        "primegap.keyos.ui",
    ),
    "calls": (
        *("primegap.keyos.calls", "primegap.quantumlink", "primegap.btp"),
        *("cryptography", "_cffi_backend"),  # imported with the public bundle of the companion
    ),
    "radio": (
        *("bumble", "pyee", "cryptography", "_cffi_backend", "primegap.radio", "primegap.cosign"),
    ),
    "airlock": ("primegap.files", "primegap.keyos.airlock"),
    "storage": (*_SEALED, "primegap.keyos.client"),
    "app-manager": (
        *_SEALED,
        *("primegap.keyos.app_manager", "primegap.keyos.bundle", "primegap.cosign"),
        *("primegap.keyos.ui", "primegap.keyos.core.builtin", "primegap.keyos.client"),
        *("primegap.bitcoin.amounts", "primegap.bitcoin.errors", "primegap.bitcoin.networks"),
    ),
    "permissions": (*_SEALED, "primegap.keyos.permissions"),
    "bitcoin": (
        *_APP,
        *("bdkpython", "primegap.base58", "primegap.bitcoin", "primegap.apps.bitcoin"),
        "primegap.airgap",
    ),
    "settings": (*_APP, "primegap.apps.settings"),
    "authenticator": (*_APP, "primegap.apps.authenticator", "primegap.airgap"),
}
