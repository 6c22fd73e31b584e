"""Errors a user of hddnn can meet, each an actionable case.

HddnnError
├── InputError            what was given cannot be used (exit code 2)
│   ├── TopologyError     a topology file or object is wrong
│   ├── DataError         a data set or an image cannot be read or does not fit
│   │   └── FormatError       what should be an image is of no format that can be read
│   ├── BundleError       a network's files are missing, damaged or do not fit
│   ├── PlanError         a plan breaks a rule of its topology
│   │   ├── NoTier            the topology has no device of a tier that a scheme needs
│   │   ├── NoLink            it names links, but none between two tiers that a scheme sends between
│   │   └── TrustViolation    images would reach a device, or a peer asked for them, that may not see them
│   ├── CertificateError  a certificate is missing, or holds no longer
│   ├── ExtensionError    a class of the user's own has failed
│   ├── FaultError        a fault schedule cannot be read, or names a device that is not there
│   └── ClusterError      the devices are not there: no scheduler, or a device is missing or failed to start
├── QueueFull             a session has as many images as it takes; come back later
├── PayloadError          what came from another device is damaged, or made for something else
└── JobIncomplete         the job ended with unanswered batches (exit code 1)
    ├── JobInterrupted    the user stopped it; both carry the cube of what finished
    └── JobLost           the scheduler left, or a device did not start again, between two schemes
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr


class HddnnError(Exception):
    """Base of every error that hddnn raises on purpose; its text is one line that says what to do."""

    exit_code = 1


class InputError(HddnnError):
    """What was given cannot be used; nothing was run."""

    exit_code = 2


class TopologyError(InputError):
    """A topology is wrong; the text names the file, the key, what is wrong and what is allowed."""


class DataError(InputError):
    """A data set or an image cannot be read, or does not fit the job."""


class FormatError(DataError):
    """What should be an image is of no format that can be read, or its first bytes are damaged."""


class BundleError(InputError):
    """A network's files are missing, damaged, or do not have the shapes that its card states."""


class PlanError(InputError):
    """A plan sends a batch where the topology does not allow it."""


class NoTier(PlanError):
    """A scheme needs a device of a tier of which the topology has none."""


class NoLink(PlanError):
    """A plan sends between two tiers for which a topology that names links has none."""


class TrustViolation(PlanError):
    """Images would go to a device that may not see them: by a plan, an order, or because somebody asks."""


class CertificateError(InputError):
    """A certificate is missing, or holds no longer; the text says with which command to make it.

    Args:
        wrong: What is wrong, up to the command.
        folder: Where the certificate should be.
        topology: What the command needs to know the device by; empty for what every folder has.
        where: Where to run it, when that is not here.
    """

    def __init__(self, wrong: str, folder: Path, topology: str = "", *, where: str = "") -> None:
        self.wrong, self.folder, self.where = wrong, folder, where
        command = ["hddnn", "certs", str(folder), *(["--topology", topology] if topology else [])]
        super().__init__(f"{wrong} with `{shlex.join(command)}`{where}")

    def of(self, topology: str) -> CertificateError:
        """Return the same error with the topology that the user gave in its command."""
        return CertificateError(self.wrong, self.folder, topology, where=self.where)


class ExtensionError(InputError):
    """A class of the user's own, a scheme, say, has failed; the text names the file and the line."""


class FaultError(InputError):
    """A fault schedule cannot be read, makes no sense, or names a device that the topology does not have."""


class ClusterError(InputError):
    """The devices are not there: no scheduler answers, or a device is missing or failed to start."""


class PayloadError(HddnnError):
    """A payload is damaged, cut short, unknown or of another network or version; it is not answered."""


class QueueFull(HddnnError):
    """A session has as many images under way as it takes; nothing of the request was begun."""


class JobIncomplete(HddnnError):
    """The job ended, and some of its batches have no answer.

    cube: the xarray.Dataset of the schemes run so far, the last one in part; None when there was no answer yet.
    """

    def __init__(self, why: str, cube: xr.Dataset | None = None) -> None:
        super().__init__(why)
        self.cube = cube


class JobInterrupted(JobIncomplete):
    """The job was stopped by Ctrl-C."""


class JobLost(JobIncomplete):
    """The devices could not go on: the scheduler left, or a device did not start again."""


class PassedOver(UserWarning):
    """Files that lie in a data folder are not read; the text is one line that says how many and why."""


def first_line(error: BaseException) -> str:
    """Return the first line of what a foreign error says, or its kind where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
