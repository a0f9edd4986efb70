"""Says when the models' tests do not run."""
import pytest


def test_transformers_is_there():
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: the tests of fla.models "
                                                              "do not run")
    assert transformers.__version__
