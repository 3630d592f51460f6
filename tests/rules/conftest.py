"""The fixtures and hooks of tests/wire, for the rule tables too."""
import importlib.util
import os
import sys

_WIRE = os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "wire")
sys.path.insert(0, _WIRE)
_spec = importlib.util.spec_from_file_location(
    "wire_conftest", os.path.join(_WIRE, "conftest.py"))
_wire = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_wire)

pytest_runtest_makereport = _wire.pytest_runtest_makereport
actors, gateway = _wire.actors, _wire.gateway
server, backend = _wire.server, _wire.backend
ca, leaf = _wire.ca, _wire.leaf
