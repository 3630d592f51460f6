"""A WebSocket server by the websockets library."""
import threading

import websockets
from websockets.sync.server import serve


class Echo:
    """A server of the websockets library, as an actor."""

    def __init__(self):
        self.closed = []
        self.is_closed = threading.Event()
        self.heads = []
        self.server = serve(self.handle, "127.0.0.1", 0, max_size=None,
                            compression=None)
        self.address = "127.0.0.1:%d" % self.server.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def __str__(self):
        return self.address

    def handle(self, ws):
        self.heads.append(ws.request)
        if ws.request.path == "/close":
            ws.close(4321, "enough")
            return
        try:
            for message in ws:
                if message == "ping":
                    message = "pong" if ws.ping().wait(15) else "no pong"
                ws.send(message)
        except websockets.ConnectionClosed:
            pass
        self.closed.append((ws.close_code, ws.close_reason))
        self.is_closed.set()

    def stop(self):
        self.server.shutdown()
        self.thread.join(15)
