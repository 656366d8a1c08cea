"""The dashboard: NiceGUI pages over the same functions as the API."""

from cloud.dashboard.mounting import mount

__all__ = ["mount"]
