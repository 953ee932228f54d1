"""Errors of the developer's tools."""

from __future__ import annotations

from typing import ClassVar


class DeveloperError(Exception):
    """Root of every error raised in `primegap.developer`."""

    code: ClassVar[str] = "developer"
    "Stable public code."
    hint: ClassVar[str] = "That did not work."
    "A sentence for a person."


class ProjectError(DeveloperError):
    """The folder of an app is not as it must be."""

    code = "app-project"
    hint = "Correct the app's folder. `primegap app new` makes one that works."


class FolderInUseError(ProjectError):
    """There is something where a new app was to be made."""

    code = "app-folder-in-use"
    hint = "Choose a folder that does not exist yet."


class BundleFileError(DeveloperError):
    """The file of a bundle cannot be read or written."""

    code = "app-file"
    hint = "Check the name of the file, and that you may read and write it."


class KeyFileError(DeveloperError):
    """The publisher's key cannot be used."""

    code = "publisher-key"
    hint = "Make a key with `primegap app key new`, or name its folder with --key."


class KeyExistsError(KeyFileError):
    """There is a key already."""

    code = "publisher-key-exists"
    hint = (
        "A publisher's key cannot be made again: apps signed with it belong to it for ever. "
        "Choose another folder with --key."
    )


class KeyFileModeError(KeyFileError):
    """Others can read the key file."""

    code = "publisher-key-mode"
    hint = "Let nobody else read the key: chmod 600 publisher.key."


class PassphraseError(KeyFileError):
    """The passphrase is wrong or missing."""

    code = "publisher-key-passphrase"
    hint = "The passphrase does not open the key."


class DeviceAnswerError(DeveloperError):
    """The device refused; code and hint are its own."""

    code = "device-answer"
    hint = "The device refused."

    def __init__(self, message: str, code: str, hint: str) -> None:
        """Keep what the device said."""
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # the device's word takes the place of ours
        self.hint = hint  # type: ignore[misc]


class DeviceUnreachableError(DeveloperError):
    """No device answers."""

    code = "device-unreachable"
    hint = "Start the device (primegap device run), or say where it is with --url."
