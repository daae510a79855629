"""The Stack (smol): 10,000 source files for each of 30 programming languages, a sample of BigCode's The Stack."""

from data_prep.sources.hub_dataset import HubDataset, Subset

CARD = "https://huggingface.co/datasets/bigcode/the-stack-smol"

THE_STACK = HubDataset(
    name="the_stack",
    title="The Stack (smol)",
    home=CARD,
    license="each file's own (column licenses)",
    category="code",
    languages=("code",),
    about_en="Source code of 30 languages, 10,000 files each; gated: accept the terms once, then give a token.",
    about_zh="30 种编程语言的源代码，每种 1 万个文件；需在网页上同意条款，并给出 token。",
    subsets=(
        Subset("default", "data", gigabytes=2.6),
        *(Subset(name, f"data/{name}") for name in ("c", "c++", "go", "java", "javascript", "python", "rust", "sql")),
    ),
    more_subsets=(r"[a-z][a-z0-9+-]*", "data/{}"),
    bytes_per_token=3.5,
    huggingface="bigcode/the-stack-smol",
    suffixes=(".json", ".jsonl"),
    text_field="content",
    metadata_fields=("lang", "licenses", "repository_name", "path"),
    is_gated=True,
    facts_from=(
        f"{CARD} (card: gated, terms of use)",
        "file names data/LANGUAGE/data.json, JSON lines, as users fetch them",
    ),
    unchecked=(
        "2.6 GB and 10,000 files a language are from memory of the card, 3.5 bytes for a token from other code",
        "names of the metadata columns (the text's column is checked when files are read)",
    ),
)
