"""Trains tokenizers of several kinds and sizes on one mix of text, and compares them on text that none has seen."""
