"""What can stop a simulator; every text is one line that says what to do."""


class SimulatorError(Exception):
    """The simulated plant cannot go on; shown to the user as it is."""
