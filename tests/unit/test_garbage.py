import gc
import time
import weakref

from cloud.garbage import RareCollection


class Ring:
    def __init__(self) -> None:
        self.itself = self


def test_cycles_go_now_and_then_and_the_interpreter_has_its_way_again_afterwards() -> None:
    collection = RareCollection(period_s=0.02)
    collection.start()
    try:
        assert not gc.isenabled()
        ring = weakref.ref(Ring())
        deadline = time.monotonic() + 20
        while ring() is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert ring() is None
    finally:
        collection.stop()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
