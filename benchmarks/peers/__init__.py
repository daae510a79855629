"""Other trainers of the same model, each at its best on the same card: what our speed is compared with.

    python -m benchmarks.peers.run litgpt-bf16 --recipe gpt_1b --samples 64 --micro-batches 4 8

| peer | what it is |
|---|---|
| transformers | `LlamaForCausalLM`, FP32 weights, autocast BF16; its blocks and the loss compiled |
| transformers-whole | the same with the whole model compiled: with torch before 2.14 it then attends through a mask |
| litgpt-mixed | LitGPT's `GPT`, FP32 weights, autocast BF16; model and loss compiled as one |
| litgpt-bf16 | the same with weights and optimizer states in BF16 ("bf16-true": faster, numerically weaker) |
| torchtitan | its Llama 3 model, FP32 weights, autocast BF16; blocks and loss compiled, as it does itself |

All have the recipe's shape, micro-batches and gradient accumulation, gradients clipped, torch's fused AdamW, cuDNN's
attention where it can be had, and random tokens. Nothing is read, logged or saved: each is its own bare loop.

They need packages that nothing else here does, without the packages that these name as needed:

    pip install --no-deps -r benchmarks/peers/wheels.txt
"""
