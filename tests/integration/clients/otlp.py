"""OpenTelemetry's own SDK and gRPC exporter send to a running server.

    otlp.py HOST:PORT

One gauge, one counter and one histogram for some seconds, first cumulative, then as deltas. Prints
how fast the counter grew, and OK when every export was taken.
"""
import sys
import time

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import Counter, MeterProvider
from opentelemetry.sdk.metrics.export import (AggregationTemporality, MetricExportResult,
                                              PeriodicExportingMetricReader)
from opentelemetry.sdk.resources import Resource

address = sys.argv[1]


class Watched(OTLPMetricExporter):
    """Keeps whether every export was taken."""
    results = []

    def export(self, *args, **kwargs):
        result = super().export(*args, **kwargs)
        self.results.append(result)
        return result


def send(namespace, temporality, seconds):
    exporter = Watched(endpoint=address, insecure=True, timeout=10,
                       preferred_temporality={Counter: temporality})
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=200)
    provider = MeterProvider(metric_readers=[reader], resource=Resource.create(
        {"k8s.namespace.name": namespace, "k8s.cluster.name": "a"}))
    meter = provider.get_meter("test")
    meter.create_observable_gauge("memory.bytes", callbacks=[lambda _: [Observation(4096)]])
    counter = meter.create_counter("requests")
    histogram = meter.create_histogram("latency")
    start = time.monotonic()
    counted = 0
    while time.monotonic() < start + seconds:
        counter.add(5, {"method": "PUT"})
        counted += 5
        histogram.record(0.1)
        time.sleep(0.05)
    print(f"rate {namespace} {counted / (time.monotonic() - start)}")
    provider.shutdown()
    assert exporter.results and all(r == MetricExportResult.SUCCESS for r in exporter.results)


send("cumulative", AggregationTemporality.CUMULATIVE, 5)
send("delta", AggregationTemporality.DELTA, 5)
print("OK")
