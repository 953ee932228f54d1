"""Route keys: the stream header of a call (API section 2, session 8.1).

The two kinds are not tagged. Which one a header holds follows from who receives it: the device
serves `AppRouteKey`s, the phone serves `ServiceRouteKey`s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, NewType, Self

from primegap.quantumlink.codec import MAX_U32, MAX_U64, Reader, put_varint
from primegap.quantumlink.errors import CodecError, LocalError
from primegap.quantumlink.rpc.errors import InvalidRouteKeyError

AppId = NewType("AppId", bytes)
"Identifier of an app on the device, 16 bytes in the order of its hexadecimal text."

ServiceId = NewType("ServiceId", int)
"Number of a service of the phone, 64 bits."

APP_ID_SIZE: Final = 16


@dataclass(frozen=True, slots=True)
class AppRouteKey:
    """A route of an app on the device: the phone opens the stream."""

    MAX_BYTES: ClassVar[int] = APP_ID_SIZE + 5
    "Longest encoding."

    app_id: AppId
    route_id: int
    "32 bits, unique within the app."

    def __post_init__(self) -> None:
        if len(self.app_id) != APP_ID_SIZE:
            raise LocalError("an app id has 16 bytes")
        _check_route_id(self.route_id)

    @property
    def scope(self) -> AppId:
        """The app, which is what permissions are given for."""
        return self.app_id

    def encode(self) -> bytes:
        """Encode the key: app id, varint(route id)."""
        return self.app_id + put_varint(self.route_id)

    @classmethod
    def parse_untrusted(cls, header: bytes) -> Self:
        """Parse a whole stream header.

        Raises:
            InvalidRouteKeyError: it is not exactly one app-route key.
        """
        reader = Reader(header[: cls.MAX_BYTES + 1])
        try:
            key = cls(AppId(reader.take(APP_ID_SIZE)), reader.varint(32))
        except CodecError as error:
            raise InvalidRouteKeyError("the header is not an app-route key") from error
        _check_whole(reader)
        return key


@dataclass(frozen=True, slots=True)
class ServiceRouteKey:
    """A route of a service of the phone: the device opens the stream."""

    MAX_BYTES: ClassVar[int] = 10 + 5
    "Longest encoding."

    service_id: ServiceId
    route_id: int
    "32 bits, unique within the service."

    def __post_init__(self) -> None:
        if not 0 <= self.service_id <= MAX_U64:
            raise LocalError("a service id has 64 bits")
        _check_route_id(self.route_id)

    @property
    def scope(self) -> ServiceId:
        """The service, which is what permissions are given for."""
        return self.service_id

    def encode(self) -> bytes:
        """Encode the key: varint(service id), varint(route id)."""
        return put_varint(self.service_id) + put_varint(self.route_id)

    @classmethod
    def parse_untrusted(cls, header: bytes) -> Self:
        """Parse a whole stream header.

        Raises:
            InvalidRouteKeyError: it is not exactly one service-route key.
        """
        reader = Reader(header[: cls.MAX_BYTES + 1])
        try:
            key = cls(ServiceId(reader.varint(64)), reader.varint(32))
        except CodecError as error:
            raise InvalidRouteKeyError("the header is not a service-route key") from error
        _check_whole(reader)
        return key


RouteKey = AppRouteKey | ServiceRouteKey
"Either kind of key."


def _check_route_id(route_id: int) -> None:
    if not 0 <= route_id <= MAX_U32:
        raise LocalError("a route id has 32 bits")


def _check_whole(reader: Reader) -> None:
    if reader.remaining:
        raise InvalidRouteKeyError("bytes follow the route key")
