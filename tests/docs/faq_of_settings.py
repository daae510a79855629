"""Messages of the FAQ about data, tokenizers and settings."""

from pathlib import Path

from faq_scene import Scene, checked, checkpoint_folder, dataset, refused, says

from megatron_recipe.recipes import load_config

# --- data and tokenizer ---


@says("no-dataset")
def no_dataset(scene: Scene) -> str:
    from data_prep.manifest import read_manifest

    with refused() as caught:
        read_manifest(Path("datasets/main"))
    return caught.message


@says("other-tokenizer")
def other_tokenizer(scene: Scene) -> str:
    facts = [dataset("datasets/en"), dataset("datasets/zh", tokenizer="bb")]
    return checked("data.datasets=datasets/en,datasets/zh", facts=facts)


@says("models-other-tokenizer")
def models_other_tokenizer(scene: Scene) -> str:
    from megatron_recipe import init_from

    folder = checkpoint_folder(tokenizer_sha256="bb")
    scene.patch.setattr(init_from, "marker_is_whole", lambda path: path == folder)
    config = load_config("gpt_tiny_cpu", ("train.init_from=runs/mine",))
    with refused() as caught:
        init_from.check_init_from(config, [dataset("datasets/demo")], Path("runs/new"))
    return caught.message


@says("vocabulary-too-large")
def vocabulary_too_large(scene: Scene) -> str:
    from data_prep.tokenizers.train import train_bpe

    with refused() as caught:
        train_bpe(["a few words of text", "and some more of them"], 64_000)
    return caught.message


@says("too-few-ids")
def too_few_ids(scene: Scene) -> str:
    return checked("model.vocab_size=2000")


@says("too-little-text")
def too_little_text(scene: Scene) -> str:
    return checked(facts=[dataset("datasets/demo", tokens=200)])


# --- configuration ---


@says("unknown-recipe")
def unknown_recipe(scene: Scene) -> str:
    return checked(recipe="gpt_1B")


@says("unknown-setting")
def unknown_setting(scene: Scene) -> str:
    return checked("train.step=100")


@says("wrong-value")
def wrong_value(scene: Scene) -> str:
    return checked("train.steps=0")


@says("wrong-set")
def wrong_set(scene: Scene) -> str:
    return checked("train.steps")


@says("batch-multiple")
def batch_multiple(scene: Scene) -> str:
    return checked("batch.global_batch_size_samples=20")


@says("processes")
def processes(scene: Scene) -> str:
    return checked("parallel.tensor=2", "parallel.distributed_optimizer=false")


@says("budget-form")
def budget_form(scene: Scene) -> str:
    from megatron_recipe.budget import parse_budget

    with refused() as caught:
        parse_budget("3000")
    return caught.message
