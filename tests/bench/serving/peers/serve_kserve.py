"""kserve's Python server with a custom model, as its documentation writes them."""

import sys

import kserve
import onnxruntime
from kserve.utils.utils import get_predict_response


class Served(kserve.Model):
    """An ONNX file."""

    def __init__(self, name, path):
        super().__init__(name)
        self.path = path
        self.load()

    def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        self.ready = True
        return self.ready

    def predict(self, payload, headers=None, response_headers=None):
        feeds = {tensor.name: tensor.as_numpy() for tensor in payload.inputs}
        return get_predict_response(payload, self.session.run(None, feeds)[0], self.name)


if __name__ == "__main__":
    _, path, port = sys.argv
    kserve.ModelServer(http_port=int(port), workers=1, enable_grpc=False).start([Served("model", path)])
