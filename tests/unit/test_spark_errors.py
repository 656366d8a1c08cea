import pytest

from models.training.spark_errors import is_lost_worker, one_line

TENSORFLOW = """An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "trainer.py", line 5, in run
tensorflow.python.framework.errors_impl.ResourceExhaustedError: {{function_node SaveV2}} \
/run/checkpoints/ckpt-12_temp/part-00000-of-00001.data-00000-of-00001.tempstate1; \
No space left on device [Op:SaveV2]
"""
JAVA = "Job aborted due to stage failure: java.io.IOException: No space left on device"
PEER = "UnavailableError: Collective ops is aborted by: the chief went: No space left on device"
OWN = """An exception was thrown from the Python worker.
Traceback (most recent call last):
models.training.errors.InputError: snapshot s has no pictures
"""


@pytest.mark.parametrize("text", [TENSORFLOW, JAVA, PEER])
def test_full_disk_is_told_in_one_line_and_not_tried_again(text: str) -> None:
    told = one_line(RuntimeError(text))
    assert "a disk is full" in told
    assert "\n" not in told
    assert not is_lost_worker(RuntimeError(text))


def test_own_errors_keep_their_words() -> None:
    assert one_line(RuntimeError(OWN)) == "snapshot s has no pictures"


def test_lost_worker_is_worth_another_start() -> None:
    assert is_lost_worker(RuntimeError("Python worker exited unexpectedly (crashed)"))
