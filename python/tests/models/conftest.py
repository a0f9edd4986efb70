"""One definition of each class runs by default; `-m "long or not long"` runs all."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
sys.path.append(os.path.dirname(os.path.dirname(HERE)))  # the checkout's fla, where none is installed


def pytest_configure(config):
    config.addinivalue_line("markers", "long: the rest of the library (make test-long)")


def pytest_collection_modifyitems(config, items):
    if config.option.markexpr:
        return
    left_out = [item for item in items if str(item.path).startswith(HERE) and item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
