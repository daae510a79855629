"""FineWeb: English web text of all Common Crawl dumps since 2013, filtered and deduplicated dump by dump."""

from data_prep.sources.hub_dataset import HubDataset, Subset

CARD = "https://huggingface.co/datasets/HuggingFaceFW/fineweb"

FINEWEB = HubDataset(
    name="fineweb",
    title="FineWeb",
    home=CARD,
    license="ODC-By-1.0",
    category="web",
    languages=("en",),
    about_en="English web pages of Common Crawl, filtered and deduplicated; the usual base of an English model.",
    about_zh="Common Crawl 英文网页，经过滤和去重；英文预训练最常用的底料。",
    subsets=(
        Subset("sample-10BT", "sample/10BT", tokens=10e9, gigabytes=30.7),
        Subset("sample-100BT", "sample/100BT", tokens=100e9, gigabytes=277.4),
        Subset("sample-350BT", "sample/350BT", tokens=362e9),
        Subset("default", "data", tokens=15e12, gigabytes=44_000),
    ),
    more_subsets=(r"CC-MAIN-\d{4}-\d{2}", "data/{}"),
    bytes_per_token=3.0,
    huggingface="HuggingFaceFW/fineweb",
    id_field="id",
    tokens_field="token_count",
    metadata_fields=("url", "dump", "date", "language", "language_score", "token_count"),
    facts_from=(
        f"{CARD} (card: columns, licence, samples; tokens are GPT-2's)",
        f"{CARD}/discussions/53 (362 billion tokens counted in sample-350BT)",
        "sizes of the 15 files of sample/10BT as users list them: 14 of about 2.15 GB, the last 0.575 GB",
    ),
    unchecked=(
        "the card gives 27.6 GB for sample-10BT, less than its files sum up to, and 388 GB for sample-350BT, which "
        "cannot be (100BT alone has 277.4); the listing of the hub is what a download goes by",
        "`default` has grown since the first release, whose 15T tokens and 44 TB are given here",
    ),
)
