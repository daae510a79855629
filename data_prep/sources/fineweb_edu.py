"""FineWeb-Edu: the pages of FineWeb that a classifier finds educational (score of 3 or more out of 5)."""

from data_prep.sources.hub_dataset import HubDataset, Subset

CARD = "https://huggingface.co/datasets/HuggingFaceFW/fineweb-edu"

FINEWEB_EDU = HubDataset(
    name="fineweb_edu",
    title="FineWeb-Edu",
    home=CARD,
    license="ODC-By-1.0",
    category="web",
    languages=("en",),
    about_en="The educational part of FineWeb: better on knowledge benchmarks for the same number of tokens.",
    about_zh="FineWeb 中的教育类网页：同样 token 数下，知识类评测更好。",
    subsets=(
        Subset("sample-10BT", "sample/10BT", tokens=10e9, gigabytes=28.5),
        Subset("sample-100BT", "sample/100BT", tokens=100e9),
        Subset("sample-350BT", "sample/350BT", tokens=350e9),
        Subset("default", "data", tokens=1.3e12),
    ),
    more_subsets=(r"CC-MAIN-\d{4}-\d{2}", "data/{}"),
    bytes_per_token=2.9,
    huggingface="HuggingFaceFW/fineweb-edu",
    modelscope="AI-ModelScope/fineweb-edu",
    id_field="id",
    tokens_field="token_count",
    metadata_fields=("url", "dump", "date", "language", "language_score", "token_count", "score"),
    facts_from=(
        f"{CARD} (card: columns, licence, samples, 1.3T tokens; tokens are GPT-2's)",
        "sizes of the files of sample/10BT as users list them: 14 files, the first four of 2.152 GB each",
        "https://modelscope.cn/datasets/AI-ModelScope/fineweb-edu (same paths, branch master)",
    ),
    unchecked=("sizes of the larger samples; 28.5 GB supposes that the 14 files hold what 10 billion tokens take",),
)
