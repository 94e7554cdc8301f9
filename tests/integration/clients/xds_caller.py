"""Calls an account through gRPC's xDS client and prints which instance answered how often.

    GRPC_XDS_BOOTSTRAP_CONFIG=... xds_caller.py TARGET CALLS [SECONDS A CALL]
"""
import collections
import json
import sys
from concurrent import futures

import grpc

CALLERS = 8


def instance_of(answer):
    """Field 1 of foreshadow.v1.CallResponse, its first; a short string."""
    assert answer[0] == 0x0A, answer
    return answer[2 : 2 + answer[1]].decode()


def main():
    target, calls = sys.argv[1], int(sys.argv[2])
    timeout = float(sys.argv[3]) if len(sys.argv) > 3 else 20
    counts = collections.Counter()
    errors = []
    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary(
            "/foreshadow.v1.Workload/Call",
            request_serializer=bytes,
            response_deserializer=instance_of,
        )

        def one(_):
            try:
                return call(b"", timeout=timeout)
            except grpc.RpcError as error:
                errors.append(str(error))
                return "failed"

        with futures.ThreadPoolExecutor(CALLERS) as callers:
            counts.update(callers.map(one, range(calls)))
    print(json.dumps({"counts": counts, "errors": errors[:1]}))


if __name__ == "__main__":
    main()
