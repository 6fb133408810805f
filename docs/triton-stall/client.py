"""Four requests at once, ten times a second: python client.py ADDRESS MODEL SECONDS."""

import statistics
import sys
import threading
import time

import numpy as np
import tritonclient.grpc as grpcclient

AT_ONCE = 4
PERIOD_S = 0.1


def main() -> None:
    """Print how many were answered and refused, and after how long."""
    address, model, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    latencies: list[float] = []
    refused: list[object] = []
    done = threading.Semaphore(0)
    rounds = int(seconds / PERIOD_S)
    with grpcclient.InferenceServerClient(address) as client:
        x = grpcclient.InferInput("x", [1, 1], "FP32")
        x.set_data_from_numpy(np.ones((1, 1), np.float32))
        start = time.perf_counter()
        for number in range(rounds):
            time.sleep(max(0.0, start + number * PERIOD_S - time.perf_counter()))
            for _ in range(AT_ONCE):
                sent = time.perf_counter()

                def answered(result: object, error: object, sent: float = sent) -> None:
                    latencies.append(time.perf_counter() - sent)
                    refused.extend([error] if result is None else [])
                    done.release()

                client.async_infer(model, [x], answered)
        for _ in range(rounds * AT_ONCE):
            done.acquire()
    cuts = statistics.quantiles(latencies, n=100)
    sys.stdout.write(
        f"{model}: {len(latencies)} requests, {len(refused)} refused, p50 {cuts[49] * 1e3:.0f} ms, "
        f"p99 {cuts[98] * 1e3:.0f} ms\n"
    )


if __name__ == "__main__":
    main()
