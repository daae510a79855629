"""SkyPile-150B: Chinese web text by Skywork. It is 150 billion tokens, whatever plans that say 500 or 600 make of it:
600-odd is its size in GB."""

from data_prep.sources.hub_dataset import HubDataset, Subset

CARD = "https://huggingface.co/datasets/Skywork/SkyPile-150B"

SKYPILE = HubDataset(
    name="skypile",
    title="SkyPile-150B",
    home=CARD,
    license="Skywork-Community-License",
    category="web",
    languages=("zh",),
    about_en="Chinese web pages: 150 billion tokens, 620 GB as JSONL, 233 million pages; text is its only column.",
    about_zh="中文网页：1500 亿 token（不是 6000 亿：620 是 GB 数），2.33 亿页，JSONL，只有 text 一列。",
    subsets=(Subset("default", "data", tokens=150e9, gigabytes=620),),
    bytes_per_token=620 / 150,
    huggingface="Skywork/SkyPile-150B",
    modelscope="AI-ModelScope/SkyPile-150B",
    suffixes=(".jsonl", ".jsonl.gz"),
    facts_from=(
        f"{CARD} (card: 150 billion tokens, 620 GB, 233 million pages, field `text`)",
        "file names data/2020-40_zh_head_0000.jsonl as users fetch them from the hub and hf-mirror.com",
        "ModelScope's list of datasets in ms-swift names AI-ModelScope/SkyPile-150B as its copy",
    ),
    unchecked=("the licence's text (the card names the Skywork Community License)", "whether ModelScope's is complete"),
)
