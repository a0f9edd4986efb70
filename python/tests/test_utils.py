"""fla.utils: comparisons, decorators, what is known of the device."""

import pytest
import torch

import fla.utils as utils


def test_results_are_compared_by_relative_error():
    x = torch.randn(100)
    utils.assert_close("x", x, x + 1e-7, 1e-9)  # below the absolute bound
    utils.assert_close("x", x, x * 1.001, 2e-3)
    with pytest.raises(AssertionError, match="x: largest difference .*, relative error 0.01.*, expected below 0.001"):
        utils.assert_close("  x", x, x * 1.01, 1e-3)
    with pytest.warns(UserWarning, match="relative error"):
        utils.assert_close("x", x, x * 1.01, 1e-3, warning=True)
    with pytest.raises(AssertionError, match="NaN in the result"):
        utils.assert_close("x", x, x * float("nan"), 1e-3)
    assert abs(utils.get_err_ratio(x, x * 1.5) - 0.5) < 1e-6 and utils.get_abs_err(x, x + 2) == pytest.approx(2, rel=1e-5)


def test_results_of_tensors_are_remembered(monkeypatch):
    calls = []

    @utils.tensor_cache
    def double(x, by=2):
        calls.append(1)
        return x * by

    x = torch.ones(3)
    assert double(x) is double(x) and len(calls) == 1
    assert double(x, by=3)[0] == 3 and len(calls) == 2
    x.add_(1)  # the tensor is another now
    assert double(x)[0] == 4 and len(calls) == 3
    assert double(x.clone())[0] == 4 and len(calls) == 4
    for i in range(5):
        double(x, by=10 + i)
    double(x, by=14)
    assert len(calls) == 9
    monkeypatch.setattr(utils, "FLA_DISABLE_TENSOR_CACHE", True)
    double(x, by=14)
    assert len(calls) == 10


def test_tensors_are_not_kept_alive():
    import weakref

    @utils.tensor_cache
    def length(x):
        return x.numel()

    x = torch.ones(3)
    alive = weakref.ref(x)
    length(x)
    del x
    assert alive() is None


def test_arguments_are_made_contiguous():
    @utils.input_guard
    def f(x, y=None):
        return x.is_contiguous(), y.is_contiguous()

    @utils.input_guard(no_guard_contiguous=["y"])
    def g(x, y=None):
        return x.is_contiguous(), y.is_contiguous()

    t = torch.ones(2, 3).T
    assert f(t, y=t) == (True, True) and g(t, y=t) == (True, False)
    assert utils.contiguous is utils.input_guard


def test_a_checkpoint_computes_again():
    calls = []

    @utils.checkpoint
    def f(x):
        calls.append(1)
        return x.sin()

    x = torch.ones(3, requires_grad=True)
    f(x).sum().backward()
    assert len(calls) == 2 and torch.allclose(x.grad, torch.ones(3).cos())


def test_deprecated_keywords():
    @utils.deprecate_kwarg("old", version="99.0", new_name="new")
    def f(new=None):
        return new

    with pytest.warns(FutureWarning, match="argument 'old' is deprecated and goes with version 99.0; use new"):
        assert f(old=1) == 1
    with pytest.warns(FutureWarning, match="new is used"):
        assert f(old=1, new=2) == 2

    @utils.deprecate_kwarg("old", version="0.1", new_name="new", raise_if_greater_or_equal_version=True)
    def g(new=None):
        return new

    with pytest.raises(ValueError, match="deprecated since version 0.1"):
        g(old=1)
    assert g(new=1) == 1


def test_the_device():
    assert utils.device == utils.device_name == ("cuda" if torch.cuda.is_available() else "cpu")
    assert utils.is_nvidia is utils.IS_NVIDIA and isinstance(utils.is_nvidia_hopper, bool)
    assert utils.is_intel_alchemist is False
    assert {"device", "is_nvidia_hopper", "IS_ARM"} <= set(dir(utils))
    with pytest.raises(AttributeError, match="no attribute 'is_nothing'"):
        utils.is_nothing


def test_the_devices_library_seeds_and_empties_caches():
    library = utils.device_torch_lib
    library.manual_seed(5)
    first = torch.randn(3, device=utils.device)
    library.manual_seed(5)
    assert torch.equal(first, torch.randn(3, device=utils.device))
    library.empty_cache()
    library.synchronize()
    with library.device(0):
        assert library.device_count() >= 1 and library.is_available()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CPU has no blocks")
def test_a_cpu_limits_no_shared_memory():
    assert utils.check_shared_mem("hopper") and utils.get_all_max_shared_mem() == [-1]
    assert utils.get_multiprocessor_count() == 1


def test_versions_and_modules():
    assert utils.check_pytorch_version("2.0") and not utils.check_pytorch_version("99.0")
    assert utils.find_spec_cached("torch") is not None and utils.find_spec_cached("no_such_module") is None
    assert utils.Backend.get_shared_memory("hopper") > utils.Backend.get_shared_memory("nothing")


def test_automatic_casts_of_functions():
    class Double(torch.autograd.Function):
        @staticmethod
        @utils.autocast_custom_fwd
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        @utils.autocast_custom_bwd
        def backward(ctx, grad):
            return 2 * grad

    x = torch.ones(3, device=utils.device, requires_grad=True)
    Double.apply(x).sum().backward()
    assert x.grad.tolist() == [2.0] * 3
