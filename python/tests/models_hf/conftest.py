"""These tests need transformers; without it they are skipped, and say so."""
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
sys.path.append(os.path.dirname(os.path.dirname(HERE)))  # the checkout's fla, where none is installed

try:
    import transformers
except ImportError:
    transformers = None


def pytest_ignore_collect(collection_path, config):
    return True if transformers is None and collection_path.name not in ("test_hf_present.py", "models_hf") else None


def pytest_collection_modifyitems(config, items):
    """What is marked long runs with -m long."""
    if config.option.markexpr:
        return
    left_out = [item for item in items if str(item.path).startswith(HERE) and item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(autouse=True)
def seed():
    import torch
    torch.manual_seed(0)
