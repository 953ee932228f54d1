"""Errors of starting and driving a device."""

from __future__ import annotations

from typing import ClassVar


class DeviceError(Exception):
    """Root of the device room's errors."""

    code: ClassVar[str] = "device"
    hint: ClassVar[str] = "The device could not be started."


class DataDirectoryError(DeviceError):
    """The data directory cannot be used."""

    code = "data-directory"
    hint = "Choose a data directory that you can write to (--data-dir)."


class DataDirectoryBusyError(DataDirectoryError):
    """Another device runs on this data directory."""

    code = "data-directory-busy"
    hint = "A device runs on this data directory. Stop it, or choose another (--data-dir)."


class DataDirectoryModeError(DataDirectoryError):
    """Development and ordinary devices never share a data directory."""

    code = "data-directory-mode"
    hint = (
        "Automation and simulation are only for devices that were never used without. "
        "Choose another data directory (--data-dir)."
    )


class SimulatorNetworkError(DeviceError):
    """A simulator, whose seed everybody knows, is not for real coins."""

    code = "simulator-network"
    hint = "A simulator has a seed that everybody knows. Choose a test network (--network)."


class BluetoothPathError(DeviceError):
    """The controller of the Bluetooth chip is not given as a Unix socket."""

    code = "bluetooth-path"
    hint = "Start an adapter or a virtual air first, and give the path it answers on."


class PortBusyError(DeviceError):
    """The port for the device page is taken."""

    code = "port-busy"
    hint = "Another program uses this port. Choose another with --port, or 0 for any free one."


class AutomationError(DeviceError):
    """An automation request cannot be carried out; the device is unchanged."""

    code = "automation"
    hint = "The screen does not offer this now."


class DeveloperPortError(DeviceError):
    """The device does not take jobs from a developer's computer now."""

    code = "developer-port"
    hint = "The device does not answer. Look at its screen, then try again."


class ModelWithoutRadioError(DeviceError):
    """A radio was asked for on a model that has none."""

    code = "model-without-radio"
    hint = "The model core has no radio. Leave --bluetooth out, or run the model prime."
