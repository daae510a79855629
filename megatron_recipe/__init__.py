"""Pretrain a GPT from raw text with Megatron-Core. Run: megatron-recipe --help"""

__version__ = "0.1.0"
