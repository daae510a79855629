"""What one rank holds adds up to the model. That the whole count is Megatron's is in tests/trainer/test_flops.py."""

import pytest

from megatron_recipe.plan.parameters import count_on_rank, count_parameters
from megatron_recipe.recipes import load_config, recipe_names

ROWS = 32_000


@pytest.mark.parametrize("recipe", recipe_names())
def test_one_rank_alone_holds_the_whole_model(recipe):
    config = load_config(recipe)
    assert count_on_rank(config, ROWS, 0) == count_parameters(config.model, ROWS)


def test_tensor_parallel_ranks_share_matrices_and_repeat_norms():
    config = load_config("gpt_7b", ("parallel.tensor=4",))
    whole, rank = count_parameters(config.model, ROWS), count_on_rank(config, ROWS, 0)
    shared = ("embedding", "attention", "feed_forward", "output")
    assert [4 * getattr(rank, part) for part in shared] == [getattr(whole, part) for part in shared]
    assert rank.norms == whole.norms


def test_pipeline_stages_add_up_and_a_tied_embedding_is_held_twice():
    config = load_config("gpt_1b", ("parallel.pipeline=4",))
    whole, stages = count_parameters(config.model, ROWS), [count_on_rank(config, ROWS, stage) for stage in range(4)]
    assert sum(stage.layers_matrices for stage in stages) == whole.layers_matrices
    assert sum(stage.norms for stage in stages) == whole.norms
    assert [stage.embedding for stage in stages] == [whole.embedding, 0, 0, 0]
    assert [stage.output for stage in stages] == [0, 0, 0, whole.embedding]
    untied = load_config("gpt_7b", ("parallel.pipeline=4",))
    assert sum(count_on_rank(untied, ROWS, stage).total for stage in range(4)) == (
        count_parameters(untied.model, ROWS).total
    )
