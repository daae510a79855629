"""The quality report of a corpus: one HTML file, and the same numbers as JSON. Run: megatron-recipe data report PATH"""
