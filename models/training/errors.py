"""What can go wrong in training, grouped by whose fault it is; each text is one line."""


class TrainingError(Exception):
    """Root of every expected failure; the command ends with `exit_code`."""

    exit_code = 1


class InputError(TrainingError):
    """The caller gave something unusable: a missing file, a broken label file, no Java."""

    exit_code = 2


class RunFailedError(TrainingError):
    """The work itself failed: a worker died, the disk is full."""


class OutOfTimeError(TrainingError):
    """A part of the work that may be left out took longer than it was given."""
