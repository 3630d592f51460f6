"""A gRPC server for tests: one handler for every method, bytes both ways."""
import threading
from concurrent import futures

import grpc

from lib.wait import PATIENCE, note, wait_until


class RpcServer:
    """Listens on a port of its own, without TLS (h2c). `methods`: a dict of
    path -> (kind, function); kind is "unary", "server", "client" or "both",
    by who streams; the function is as grpcio wants it: f(request or iterator,
    context). `calls`: the contexts of all calls, in order."""

    def __init__(self, methods, name="rpc"):
        self.name = name
        self.methods = methods
        self.calls = []
        self.n_running = 0
        self.lock = threading.Lock()
        self.pool = futures.ThreadPoolExecutor(8)
        self.server = grpc.server(self.pool, handlers=(self,), options=[
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0)])
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.address = f"127.0.0.1:{self.port}"
        self.server.start()

    def __str__(self):
        return self.address

    def service(self, details):
        """Called by grpcio for each call."""
        note(self.name, f"call {details.method}")
        if details.method not in self.methods:
            return None
        kind, behaviour = self.methods[details.method]
        make = {"unary": grpc.unary_unary_rpc_method_handler,
                "server": grpc.unary_stream_rpc_method_handler,
                "client": grpc.stream_unary_rpc_method_handler,
                "both": grpc.stream_stream_rpc_method_handler}[kind]

        def run(what, context):
            self._take(context)
            return behaviour(what, context)
        return make(run)

    def _take(self, context):
        with self.lock:
            self.calls.append(context)
            self.n_running += 1

        def ended():
            with self.lock:
                self.n_running -= 1
        if not context.add_callback(ended):
            ended()

    def wait_calls(self, n=1):
        wait_until(lambda: len(self.calls) >= n, f"{self.name}: {n} calls")
        return self.calls

    def wait_idle(self):
        """Until no call runs: each has ended or was cancelled."""
        wait_until(lambda: self.n_running == 0, f"{self.name}: calls end")

    def stop(self):
        self.server.stop(None).wait(PATIENCE)
        self.pool.shutdown(wait=True)
