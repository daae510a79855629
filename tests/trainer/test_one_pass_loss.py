"""Rows of gradients times what comes back, by Triton's interpreter; quack's kernel: tests/gpu."""

import importlib
import sys
from types import SimpleNamespace

import pytest
import torch

ROWS, VOCABULARY = 37, 5000


@pytest.fixture
def module(monkeypatch):
    """With plain torch in quack's place, as it is called: the gradient over the logits."""
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")

    def in_place(logits, labels, *, return_dx=False, inplace_backward=False):
        losses = torch.nn.functional.cross_entropy(logits.float(), labels, reduction="none")
        if not return_dx:
            return losses
        assert inplace_backward
        shares = logits.float().softmax(-1)
        shares[torch.arange(len(labels)), labels] -= 1
        return losses, logits.copy_(shares)

    monkeypatch.setitem(sys.modules, "quack", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "quack.cross_entropy", SimpleNamespace(cross_entropy_fwd=in_place))
    monkeypatch.delitem(sys.modules, "megatron_recipe.one_pass_loss", raising=False)
    yield importlib.import_module("megatron_recipe.one_pass_loss")
    del sys.modules["megatron_recipe.one_pass_loss"]  # the next import is not the interpreter's


@pytest.mark.parametrize("factors", ["mask", "ones", "any"])
def test_what_comes_back_is_in_the_gradient(module, factors):
    logits = torch.randn(ROWS, VOCABULARY, requires_grad=True)
    labels = torch.randint(VOCABULARY, (ROWS,))
    back = {"mask": (torch.rand(ROWS) > 0.3).float(), "ones": torch.ones(ROWS), "any": torch.randn(ROWS)}[factors]
    exact = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    (expected,) = torch.autograd.grad((exact * back).sum(), logits)
    losses = module.cross_entropy(logits * 1, labels)
    torch.testing.assert_close(losses, exact)
    (gradient,) = torch.autograd.grad((losses * back).sum(), logits)
    torch.testing.assert_close(gradient, expected)


def test_logits_are_left_alone_where_no_gradient_is_wanted(module):
    logits = torch.randn(ROWS, VOCABULARY, requires_grad=True)
    before = logits.detach().clone()
    with torch.no_grad():
        module.cross_entropy(logits, torch.zeros(ROWS, dtype=torch.long))
    assert torch.equal(logits, before)
