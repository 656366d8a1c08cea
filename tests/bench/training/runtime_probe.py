"""Inferences a second of each runtime in turn, on one thread; what is not installed is named."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Infer = Callable[[np.ndarray[Any, Any]], object]
INFERENCES = 30
WARM_UP = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    runtimes, skipped, shape = load_all(options.bundle, options.work)
    picture = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    for infer in runtimes.values():
        for _ in range(WARM_UP):
            infer(picture)
    rates: dict[str, list[float]] = {name: [] for name in runtimes}
    for number in range(options.rounds):
        for name in list(runtimes) if number % 2 == 0 else reversed(list(runtimes)):
            started = time.perf_counter()
            for _ in range(INFERENCES):
                runtimes[name](picture)
            rates[name].append(round(INFERENCES / (time.perf_counter() - started), 2))
    found = {
        "rounds": options.rounds,
        "per_s": {name: float(np.median(values)) for name, values in rates.items()},
        "all_rounds_per_s": rates,
        "skipped": skipped,
        "input": list(shape),
    }
    sys.stdout.write(json.dumps(found) + "\n")


def load_all(bundle: Path, work: Path) -> tuple[dict[str, Infer], dict[str, str], tuple[int, ...]]:
    """Every runtime that is here, over the same weights; why the others are not."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from models.contract.bundle import FLOAT_WEIGHTS_NAME
    from models.detector.spec import read_spec
    from models.training.network import build_network, with_embedding

    spec = read_spec(bundle)
    shape = (1, spec.input_height, spec.input_width, 3)
    model = build_network(spec)
    model.load_weights(bundle / FLOAT_WEIGHTS_NAME)
    network = tf.function(
        lambda images: model(images, training=False),
        input_signature=[tf.TensorSpec(shape, tf.uint8, name="images")],
    )
    module = tf.Module()
    module.model, module.network = model, network
    saved = str(work / "saved_model")
    tf.saved_model.save(module, saved, signatures={"serving_default": network})
    makers: dict[str, Callable[[], Infer]] = {
        "openvino_int8": lambda: _openvino(bundle / "model.xml"),
        "openvino_float": lambda: _openvino_float(with_embedding(model, spec), shape),
        "tensorflow_saved_model": lambda: _tensorflow(saved),
        "litert_float": lambda: _litert(saved),
        "onnx_runtime_float": lambda: _onnx(network, work),
    }
    runtimes, skipped = {}, {}
    for name, make in makers.items():
        try:
            runtimes[name] = make()
        except Exception as error:  # noqa: BLE001 - other people's converters; the reason is told
            skipped[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
    return runtimes, skipped, shape


def _openvino(path: Path) -> Infer:
    import openvino as ov

    return _compiled(ov.Core().read_model(path))


def _openvino_float(model: Any, shape: tuple[int, ...]) -> Infer:  # noqa: ANN401 - keras has no types
    """As the product converts it before it quantizes."""
    import openvino as ov

    return _compiled(ov.convert_model(model, input=list(shape)))


def _compiled(model: Any) -> Infer:  # noqa: ANN401 - openvino has no types
    import openvino as ov
    import openvino.properties as ov_properties
    from openvino.properties import hint

    options = {
        hint.performance_mode(): hint.PerformanceMode.LATENCY,
        hint.inference_precision(): "f32",
        ov_properties.num_streams(): 1,
        ov_properties.inference_num_threads(): 1,
        hint.enable_cpu_pinning(): False,
    }
    request = ov.Core().compile_model(model, "CPU", options).create_infer_request()
    return lambda picture: request.infer([picture])


def _tensorflow(saved: str) -> Infer:
    import tensorflow as tf

    loaded = tf.saved_model.load(saved)
    serve = loaded.signatures["serving_default"]

    def infer(picture: np.ndarray[Any, Any]) -> object:
        return {name: value.numpy() for name, value in serve(tf.constant(picture)).items()}

    # The function holds on to the loaded module, whose variables go with it.
    infer.module = loaded  # type: ignore[attr-defined]
    return infer


def _litert(saved: str) -> Infer:
    import tensorflow as tf
    from ai_edge_litert.interpreter import (  # type: ignore[import-not-found, unused-ignore]
        Interpreter,
    )

    converted = tf.lite.TFLiteConverter.from_saved_model(saved).convert()
    interpreter = Interpreter(model_content=converted, num_threads=1)
    interpreter.allocate_tensors()
    into = interpreter.get_input_details()[0]["index"]
    out = [entry["index"] for entry in interpreter.get_output_details()]

    def infer(picture: np.ndarray[Any, Any]) -> object:
        interpreter.set_tensor(into, picture)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in out]

    return infer


def _onnx(network: Any, work: Path) -> Infer:  # noqa: ANN401 - tf has no types
    import onnxruntime as ort  # type: ignore[import-not-found, unused-ignore]
    import tf2onnx  # type: ignore[import-not-found, unused-ignore]

    path = str(work / "network.onnx")
    tf2onnx.convert.from_function(
        network, input_signature=network.input_signature, opset=17, output_path=path
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda picture: session.run(None, {name: picture})


if __name__ == "__main__":
    main()
