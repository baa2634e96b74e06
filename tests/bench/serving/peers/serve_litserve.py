"""An ONNX file in LitServe."""

import sys

import litserve
import numpy as np
import onnxruntime


class Served(litserve.LitAPI):
    """An ONNX file."""

    def __init__(self, path, **options):
        super().__init__(**options)
        self.path = path

    def setup(self, device):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])

    def decode_request(self, request):
        return np.asarray(request["rows"], np.float32)

    def batch(self, inputs):
        return np.concatenate(inputs)

    def predict(self, x):
        return self.session.run(None, {"x": x})[0]

    def unbatch(self, output):
        return list(output[:, None])

    def encode_response(self, output):
        return {"rows": output.tolist()}


if __name__ == "__main__":
    _, path, port, largest = sys.argv
    together = {"max_batch_size": int(largest), "batch_timeout": 0.001} if int(largest) > 1 else {}
    server = litserve.LitServer(Served(path, **together), accelerator="cpu", workers_per_device=1)
    server.run(port=int(port), host="127.0.0.1", num_api_servers=1, generate_client_file=False, log_level="warning")
