"""Why an app is not installed, not started or not removed, each with a sentence for a person."""

from __future__ import annotations

from primegap.keyos.errors import KeyosError


class AppError(KeyosError):
    """Root of what the app manager refuses."""

    code = "app"
    hint = "The app manager could not do that."


class NotInstalledError(AppError):
    """There is no such app."""

    code = "app-not-installed"
    hint = "The app is not installed on this device."


class PublisherMismatchError(AppError):
    """An app of that identifier is installed, from another publisher."""

    code = "app-publisher-mismatch"
    hint = (
        "An app of this identifier is installed from another publisher. Remove that one first; "
        "its data is erased with it."
    )


class PublisherNotAcceptedError(AppError):
    """The person does not or no longer accept the app's publisher."""

    code = "app-publisher-not-accepted"
    hint = "The publisher of the app is no longer accepted on this device. Install the app anew."


class BuiltInError(AppError):
    """The bundle claims an identity that belongs to the system."""

    code = "app-built-in"
    hint = "The app claims to be a part of the system."


class NameTakenError(AppError):
    """Another app has this name for people."""

    code = "app-name-taken"
    hint = "Another app on this device has the same name, and nobody could tell them apart."


class RunningError(AppError):
    """The app runs, and cannot be replaced under way."""

    code = "app-running"
    hint = "The app is running. Leave it on the device, then try again."


class SystemTooOldError(AppError):
    """The app needs a newer system than this one."""

    code = "app-needs-newer-system"
    hint = "The app needs a newer version of this device’s system."


class OlderVersionError(AppError):
    """A newer version of the app is installed."""

    code = "app-older-version"
    hint = "A newer version of the app is installed. Remove it first if you want the older one."


class PermissionRefusedError(AppError):
    """The manifest asks for something that an installed app cannot have."""

    code = "app-permission-refused"
    hint = "The app asks for something that installed apps cannot have."


class NeededError(AppError):
    """Another installed app exchanges messages with this one."""

    code = "app-needed"
    hint = "Another installed app works only with this one. Remove or update that one first."


class TooManyAppsError(AppError):
    """There is no room for another app or publisher."""

    code = "app-too-many"
    hint = "There are as many apps as this device takes. Remove one first."


class AlteredError(AppError):
    """A stored bundle is not the one that was installed."""

    code = "app-altered"
    hint = "The stored app is damaged or was changed. Install it anew; its data is kept."


class DeclinedError(AppError):
    """The person said no, or was not there."""

    code = "app-declined"
    hint = "It was not approved on the device."


class ChangedError(AppError):
    """Something changed while the person was asked."""

    code = "app-changed-meanwhile"
    hint = "Something changed while the question was on the screen. Try again."


class BusyError(AppError):
    """The person is being asked about another app."""

    code = "app-busy"
    hint = "The device is asking about another app. Answer that first."


class LockedError(AppError):
    """The device is locked."""

    code = "device-locked"
    hint = "Unlock the device first."


class DeveloperModeOffError(AppError):
    """A developer command came while developer mode is off."""

    code = "developer-mode-off"
    hint = "Switch developer mode on: on the device, under Settings."
