"""Falcon RefinedWeb: English web text by TII, the public extract of what Falcon was trained on."""

from data_prep.sources.hub_dataset import HubDataset, Subset

CARD = "https://huggingface.co/datasets/tiiuae/falcon-refinedweb"

REFINEDWEB = HubDataset(
    name="refinedweb",
    title="Falcon RefinedWeb",
    home=CARD,
    license="ODC-By-1.0",
    category="web",
    languages=("en",),
    about_en="English web pages with strict filtering: 968 million pages, 500-650 billion tokens, text in `content`.",
    about_zh="严格过滤的英文网页：9.68 亿页，5000-6500 亿 token，正文在 content 列。",
    subsets=(Subset("default", "data", tokens=600e9, gigabytes=466.9),),
    bytes_per_token=466.9 / 600,
    huggingface="tiiuae/falcon-refinedweb",
    text_field="content",
    metadata_fields=("url", "timestamp", "dump", "segment"),
    facts_from=(
        f"{CARD} (card: columns, 968,000,015 rows, 466,888,198,663 bytes to download, 2.77 TB unpacked, 500-650GT)",
        "arXiv 2306.01116",
    ),
    unchecked=("600 billion tokens is the middle of the range that the card gives",),
)
