"""Every row about HTTP/1 requests, before an HTTP/2 backend."""
import pytest

from bench import Benches
from h1_tables import rows_for


@pytest.fixture(scope="module")
def benches(tmp_path_factory, ca, leaf):
    running = Benches("h2c", tmp_path_factory, ca, leaf)
    yield running
    running.stop()


@pytest.mark.parametrize("row", rows_for("h2c"), ids=lambda row: row.id)
def test_row(benches, row):
    benches.run(row)
