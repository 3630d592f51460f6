"""The actors of the wire tests: gateway, server, client, tls, frames, ports.
tests/wire/conftest.py makes fixtures of them."""
