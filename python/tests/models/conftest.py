"""One definition of each class runs by default; `-m "long or not long"` runs all."""
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))


def pytest_configure(config):
    config.addinivalue_line("markers", "long: the rest of the library (make test-long)")


def pytest_collection_modifyitems(config, items):
    if config.option.markexpr:
        return
    here = os.path.dirname(__file__)
    left_out = [item for item in items if str(item.path).startswith(here) and item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
