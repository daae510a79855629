"""SwiGLU rounded to FP8 and transposed, against Transformer Engine's kernels."""

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

TOKENS, WIDTH = 1536, 1024


@pytest.mark.parametrize("is_backward", [False, True])
def test_values_transpose_and_maximum_are_transformer_engines(is_backward):
    pytest.importorskip("transformer_engine.pytorch")
    import transformer_engine_torch as tex
    from transformer_engine.pytorch import ops
    from transformer_engine.pytorch.tensor.float8_tensor import Float8Quantizer

    from megatron_recipe.fp8_swiglu import SwiGLU

    torch.manual_seed(1)
    gate_up = torch.randn(TOKENS // 4, 4, 2 * WIDTH, device="cuda").bfloat16()
    gradient = torch.randn(TOKENS // 4, 4, WIDTH, device="cuda").bfloat16()
    kind = tex.DType.kFloat8E5M2 if is_backward else tex.DType.kFloat8E4M3
    results = []
    for operation in (SwiGLU(), ops.SwiGLU()):
        # a scale that saturates the largest values
        quantizer = Float8Quantizer(torch.full((1,), 60.0, device="cuda"), torch.zeros(1, device="cuda"), kind)
        if is_backward:
            out = operation._tex_swiglu_backward(gradient, gate_up, quantizer)
        else:
            out = operation._tex_swiglu_forward(gate_up, quantizer)
        out.update_usage(rowwise_usage=True, columnwise_usage=True)
        results.append((out.dequantize().float(), out._data, out._transpose, quantizer.amax))
    (values, data, transposed, maximum), (expected, _, reference_transposed, reference_maximum) = results
    assert torch.equal(transposed.reshape(data.shape[-1], -1).T, data.reshape(-1, data.shape[-1]))
    assert transposed.shape == reference_transposed.shape
    # both compute in FP32 and round once: a few values lie between two neighbours
    assert float((values != expected).float().mean()) < 2e-3
    torch.testing.assert_close(values, expected, rtol=0.3, atol=1e-3)
    torch.testing.assert_close(maximum, reference_maximum, rtol=1e-2, atol=0)
