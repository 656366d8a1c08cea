"""The detector apart from its training: geometry, runtime, golden pictures.

OpenVINO reports its use to its makers from the moment it is imported. Nothing calls home from a
plant, so the reporting package is blocked before any module here can import OpenVINO, which then
falls back to its own stub.
"""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
