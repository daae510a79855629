"""The month: the ledger of the plan from week 0 to week 4, its evidence and its quiz. Run: megatron-recipe today

Importing this package costs nothing.
"""
