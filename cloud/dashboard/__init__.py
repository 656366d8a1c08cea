"""The dashboard: NiceGUI pages over the same services as the API.

`links`, `wording`, `shift` and the modules named ``…_view`` are pure; NiceGUI is imported only
when `mount` is called.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from cloud.api.context import Context


def mount(app: "FastAPI", context: "Context") -> None:
    """Serve the dashboard at ``/``: the last step, since it takes every path that is left.

    NiceGUI belongs to the process, not to an application: call this once.
    """
    from cloud.dashboard.mounting import install  # noqa: PLC0415 - it takes seconds to import

    install(app, context)
