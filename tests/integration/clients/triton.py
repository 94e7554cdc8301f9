#!/usr/bin/env python3
"""Triton's own gRPC client against a running foreshadowd; prints OK, or fails with what is wrong.

    triton.py HOST:PORT
"""
import queue
import sys
import time

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

STEPS = 240
HORIZON = 60  # steps of a minute


def history(values):
    tensor = triton.InferInput("HISTORY", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values.astype(np.float32))
    return tensor


def one(name, datatype, values):
    array = np.array(values, dtype=object if datatype == "BYTES" else None)
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def constant(*levels):
    return np.repeat(np.array(levels, dtype=np.float32)[:, None], STEPS, axis=1)


def refused(code, words, call):
    try:
        call()
    except InferenceServerException as error:
        assert error.status() == f"StatusCode.{code}", error
        for word in words:
            assert word in error.message(), f"{word} is not in: {error.message()}"
        return
    raise AssertionError(f"was not refused with {code}")


def metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("auto")
    assert not client.is_model_ready("oracle")
    server = client.get_server_metadata()
    assert server.name == "foreshadow" and server.version, server
    model = client.get_model_metadata("last-value")
    inputs = {tensor.name: tensor for tensor in model.inputs}
    assert inputs["HISTORY"].datatype == "FP32" and list(inputs["HISTORY"].shape) == [-1, -1]
    assert [tensor.name for tensor in model.outputs] == ["QUANTILES", "LEVELS", "STATUS", "MODEL"]
    refused("NOT_FOUND", ["oracle", "last-value"], lambda: client.get_model_metadata("oracle"))
    names = [model.name for model in client.get_model_repository_index().models]
    assert {"auto", "last-value", "arima"} <= set(names), names


def configuration(client):
    config = client.get_model_config("last-value", as_json=True)["config"]
    assert config["name"] == "last-value" and config["backend"] == "foreshadow", config
    assert config.get("max_batch_size", 0) == 0, config
    inputs = {tensor["name"]: tensor for tensor in config["input"]}
    assert inputs["HISTORY"]["data_type"] == "TYPE_FP32", config
    assert inputs["HISTORY"]["dims"] == ["-1", "-1"] and "optional" not in inputs["HISTORY"], config
    assert inputs["SIGNAL"]["data_type"] == "TYPE_STRING" and inputs["SIGNAL"]["optional"], config
    assert [tensor["name"] for tensor in config["output"]][0] == "QUANTILES", config
    assert int(config["dynamic_batching"]["max_queue_delay_microseconds"]) == 2_000, config
    refused("NOT_FOUND", ["oracle"], lambda: client.get_model_config("oracle"))


def statistics(client):
    def of(name):
        (stats,) = client.get_inference_statistics(name).model_stats
        assert stats.name == name, stats
        return stats

    before = of("last-hour-mean")
    assert before.inference_count == 0 and before.last_inference == 0, before
    began = time.time()
    for _ in range(3):
        client.infer("last-hour-mean", [history(constant(7, 3))])
    refused("INVALID_ARGUMENT", ["HISTORY is missing"], lambda: client.infer("last-hour-mean", []))
    took_ns = (time.time() - began) * 1e9
    stats = of("last-hour-mean")
    assert stats.inference_count == 3 and stats.execution_count == 3, stats
    times = stats.inference_stats
    assert times.success.count == 3 and times.fail.count == 1, stats
    assert times.queue.count == times.compute_infer.count == 3, stats
    parts = [times.queue, times.compute_input, times.compute_infer, times.compute_output]
    assert 0 < sum(part.ns for part in parts) <= times.success.ns < took_ns, stats
    assert began * 1e3 - 1 <= stats.last_inference <= time.time() * 1e3 + 1, stats
    everything = client.get_inference_statistics(as_json=True)["model_stats"]
    assert {"auto", "last-value", "arima"} <= {each["name"] for each in everything}, everything
    refused("NOT_FOUND", ["oracle"], lambda: client.get_inference_statistics("oracle"))


def infer(client):
    values = constant(7, 3)
    values[1, 10:20] = np.nan
    answer = client.infer("last-value", [history(values)], request_id="first")
    assert answer.get_response().id == "first"
    quantiles = answer.as_numpy("QUANTILES")
    assert quantiles.shape == (2, HORIZON, 9) and quantiles.dtype == np.float32
    assert np.allclose(quantiles[0], 7) and np.allclose(quantiles[1], 3)
    assert list(answer.as_numpy("STATUS")) == [1, 1]
    assert list(answer.as_numpy("MODEL")) == [b"last-value"] * 2
    assert np.allclose(answer.as_numpy("LEVELS")[3], 0.5)

    answer = client.infer(
        "auto",
        [
            history(constant(7, 3)),
            one("STEP_MS", "INT64", [300_000]),
            one("TIME_MS", "INT64", [[1_700_000_100_000], [1_700_000_100_000]]),
            one("SIGNAL", "BYTES", [b"cpu", b"memory"]),
            one("LEVELS", "FP32", np.array([0.5, 0.9], dtype=np.float32)),
        ],
        outputs=[triton.InferRequestedOutput("QUANTILES")],
        parameters={"horizon_steps": 3},
        priority=1,
        timeout=60_000_000,
    )
    quantiles = answer.as_numpy("QUANTILES")
    assert quantiles.shape == (2, 3, 2), quantiles.shape
    assert np.allclose(quantiles[0], 7, atol=0.5) and np.allclose(quantiles[1], 3, atol=0.5)
    assert answer.as_numpy("MODEL") is None

    # All missing: no answer for that series, the others have theirs.
    answer = client.infer("auto", [history(np.stack([np.full(STEPS, np.nan), np.full(STEPS, 2.0)]))])
    assert list(answer.as_numpy("STATUS"))[0] == 3
    assert np.isnan(answer.as_numpy("QUANTILES")[0]).all()
    assert np.isfinite(answer.as_numpy("QUANTILES")[1]).all()


def wrong(client):
    good = history(constant(7))
    refused("NOT_FOUND", ["oracle", "last-value"], lambda: client.infer("oracle", [good]))
    refused("INVALID_ARGUMENT", ["HISTORY is missing"], lambda: client.infer("auto", []))
    flat = triton.InferInput("HISTORY", [STEPS], "FP32")
    flat.set_data_from_numpy(np.ones(STEPS, dtype=np.float32))
    refused("INVALID_ARGUMENT", ["HISTORY", "[240]", "steps"], lambda: client.infer("auto", [flat]))
    double = triton.InferInput("HISTORY", [1, STEPS], "FP64")
    double.set_data_from_numpy(np.ones((1, STEPS)))
    refused("INVALID_ARGUMENT", ["FP64", "FP32"], lambda: client.infer("auto", [double]))
    refused("INVALID_ARGUMENT", ["COLOUR", "HISTORY, STEP_MS"],
            lambda: client.infer("auto", [good, one("COLOUR", "INT64", [1])]))
    refused("INVALID_ARGUMENT", ["STEP_MS = 5"],
            lambda: client.infer("auto", [good, one("STEP_MS", "INT64", [5])]))
    refused("INVALID_ARGUMENT", ["SIGNAL[0]", "colour", "cpu, memory"],
            lambda: client.infer("auto", [good, one("SIGNAL", "BYTES", [b"colour"])]))
    refused("INVALID_ARGUMENT", ["HISTORY[0] = -1"],
            lambda: client.infer("auto", [history(-constant(1))]))
    refused("INVALID_ARGUMENT", ["horizon_steps", "61", "60"],
            lambda: client.infer("auto", [good], parameters={"horizon_steps": 61}))
    refused("INVALID_ARGUMENT", ["colour", "horizon_steps"],
            lambda: client.infer("auto", [good], parameters={"colour": 1}))
    refused("INVALID_ARGUMENT", ["FUTURE", "QUANTILES"],
            lambda: client.infer("auto", [good], outputs=[triton.InferRequestedOutput("FUTURE")]))
    refused("INVALID_ARGUMENT", ["priority = 9"], lambda: client.infer("auto", [good], priority=9))
    short = triton.InferInput("HISTORY", [2, STEPS], "FP32")
    short.set_data_from_numpy(constant(1, 2))
    short._raw_content = short._raw_content[:-4]
    refused("INVALID_ARGUMENT", ["HISTORY", "1916 raw bytes", "480 elements"],
            lambda: client.infer("auto", [short]))


def asynchronous(client):
    answers = queue.Queue()
    calls = 50
    for level in range(calls):
        client.async_infer("last-value", [history(constant(level))], request_id=str(level),
                           callback=lambda result, error: answers.put((result, error)))
    for _ in range(calls):
        result, error = answers.get(timeout=60)
        assert error is None, error
        assert np.allclose(result.as_numpy("QUANTILES"), int(result.get_response().id))


def stream(client):
    answers = queue.Queue()
    calls = 200
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    for level in range(calls):
        name = "oracle" if level == 100 else "last-value"
        client.async_stream_infer(name, [history(constant(level))], request_id=str(level))
    for level in range(calls):
        result, error = answers.get(timeout=60)
        if level == 100:
            assert error is not None and "oracle" in error.message(), error
            continue
        assert error is None, error
        assert result.get_response().id == str(level), "answers come in the order of the requests"
        assert np.allclose(result.as_numpy("QUANTILES"), level)
    client.stop_stream()


def main():
    client = triton.InferenceServerClient(sys.argv[1])
    for check in (metadata, configuration, statistics, infer, wrong, asynchronous, stream):
        check(client)
        print(f"{check.__name__} ok")
    client.close()
    print("OK")


if __name__ == "__main__":
    main()
