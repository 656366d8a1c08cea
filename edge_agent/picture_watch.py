"""Poor pictures in a row: one is a part for the reject box, several are a camera to look after."""

from collections.abc import Sequence

from models.contract.messages import Alarm, Reason, ReasonCode

PICTURE = "picture"
MAX_POOR = 3
"""Pictures in a row; a hand before the lens costs one or two."""
ACTIONS = {
    ReasonCode.BLACK: "Check the lamp, the lens cap and ExposureTime",
    ReasonCode.OVEREXPOSED: "Check stray light and the lamp; lower ExposureTime or Gain",
    ReasonCode.BLURRED: "Clean the lens, check its focus and that the part stands still",
    ReasonCode.FROZEN: "The camera repeats itself and is opened again; if it goes on, restart it",
    ReasonCode.WRONG_SIZE: "Set Width and Height of the camera to the picture size of the recipe",
}


UNSEEN = frozenset(
    {ReasonCode.NO_FRAME, ReasonCode.CAMERA_FAULT, ReasonCode.DEADLINE, ReasonCode.MODEL_FAULT}
)
"""Nobody knows what such a part's picture was like."""


class PictureWatch:
    """Counts poor pictures."""

    def __init__(self) -> None:
        self._num_poor = 0

    @property
    def is_well(self) -> bool:
        """Whether the last picture could be judged."""
        return self._num_poor == 0

    def take_in(self, reasons: Sequence[Reason]) -> Alarm | None:
        """Look at why a picture was not judged; none of the reasons here means that it was.

        Returns:
            What to tell a person, from the third poor picture in a row on.
        """
        poor = next((reason for reason in reasons if reason.code in ACTIONS), None)
        if poor is None:
            if not any(reason.code in UNSEEN for reason in reasons):
                self._num_poor = 0
            return None
        self._num_poor += 1
        if self._num_poor < MAX_POOR:
            return None
        return Alarm(code=PICTURE, cause=poor.text[:200], action=ACTIONS[poor.code])

    def is_frozen(self, reasons: Sequence[Reason]) -> bool:
        """Whether opening the camera anew may help."""
        codes = {reason.code for reason in reasons}
        return ReasonCode.FROZEN in codes and self._num_poor >= MAX_POOR
