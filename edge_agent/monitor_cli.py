"""The options of ``sightline-edge monitor``."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from edge_agent.adapters.mqtt_connection import BrokerAccess
from edge_agent.errors import ConfigurationError, EdgeAgentError
from edge_agent.monitor import Monitor, listening_access, show
from edge_agent.sections import MqttSettings
from edge_agent.settings import load_settings
from models.contract.model import ContractError
from models.contract.topics import CellAddress

STATUS_TIMEOUT_S = 5.0


class NoStatusError(EdgeAgentError):
    """Nobody says anything about the cell."""

    def __init__(self, cell: CellAddress, broker: MqttSettings, connection: str) -> None:
        super().__init__(
            f"no status of {cell} at {broker.host}:{broker.port} within {STATUS_TIMEOUT_S:g} s "
            f"({connection}): is sightline-edge run up, are cell and broker the right ones?"
        )


def monitor(
    *,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The agent's TOML file.")
    ] = None,
    host: Annotated[str, typer.Option(help="The cell's broker, without --config.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its port.")] = 1883,
    cell: Annotated[
        str, typer.Option(help="site/area/line/cell, without --config.")
    ] = "plant1/assembly/line1/cell1",
    once: Annotated[bool, typer.Option(help="Show the state once and end.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --once: JSON for machines.")
    ] = False,
) -> None:
    """Show the signals between PLC and cell live: state, handshake, last parts, counters."""
    address, broker = _where(config, host, port, cell)
    listener = Monitor(listening_access(_access(broker)), address)
    listener.start()
    try:
        if not once and not as_json:
            show(listener, Console())
            return
        if not listener.wait_for_status(STATUS_TIMEOUT_S):
            raise NoStatusError(address, broker, listener.connection_text)
        if as_json:
            typer.echo(json.dumps(listener.as_dict()))
        else:
            Console().print(next(listener.frames()))
    except KeyboardInterrupt:
        pass
    finally:
        listener.stop()


def _where(
    config: Path | None, host: str, port: int, cell: str
) -> tuple[CellAddress, MqttSettings]:
    if config is not None:
        settings = load_settings(config)
        return settings.cell.address, settings.broker
    try:
        return CellAddress.parse(cell), MqttSettings(host=host, port=port)
    except ContractError as error:
        raise ConfigurationError(f"--cell: {error}") from error


def _access(broker: MqttSettings) -> BrokerAccess:
    return BrokerAccess(
        host=broker.host,
        port=broker.port,
        client_id="",
        username=broker.username,
        password=broker.secret(),
        tls_ca=broker.tls_ca,
        tls_cert=broker.tls_cert,
        tls_key=broker.tls_key,
        keep_alive_s=broker.keep_alive_s,
        reconnect_max_s=broker.reconnect_max_s,
    )
