"""The floor below every server here: it looks where a request ends, and answers with bytes made beforehand."""

import asyncio
import re
import sys

import orjson
import uvloop

OUTPUT = {"name": "y", "datatype": "FP32", "shape": (1, 10)}
MESSAGE = {"model_name": "model", "model_version": "1"}
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n")
LINES = b"HTTP/1.1 200 OK\r\ncontent-type: application/%b\r\ndate: Sat, 21 Nov 2026 12:00:00 GMT\r\n"


def as_json():
    """Return an answer as long as ours are."""
    body = orjson.dumps({**MESSAGE, "outputs": [{**OUTPUT, "data": [-0.12345678] * 10}]})
    return LINES % b"json" + b"content-length: %d\r\n\r\n%b" % (len(body), body)


def as_bytes():
    """Return the same with a raw tensor."""
    header = orjson.dumps({**MESSAGE, "outputs": [{**OUTPUT, "parameters": {"binary_data_size": 40}}]})
    lines = LINES % b"octet-stream" + b"inference-header-content-length: %d\r\n" % len(header)
    return lines + b"content-length: %d\r\n\r\n%b%b" % (len(header) + 40, header, bytes(40))


JSON, RAW = as_json(), as_bytes()


class Nothing(asyncio.Protocol):
    """One connection, one request at a time."""

    def connection_made(self, transport):
        self.transport = transport
        self.left = 0

    def data_received(self, data):
        if not self.left:
            end = data.find(b"\r\n\r\n") + 4
            length = LENGTH.search(data, 0, end)
            self.left = end + (int(length[1]) if length else 0)
            self.answer = RAW if data.find(b"\r\ninference-header-", 0, end) > 0 else JSON
        self.left -= len(data)
        if not self.left:
            self.transport.write(self.answer)


async def serve(port):
    server = await asyncio.get_running_loop().create_server(Nothing, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
