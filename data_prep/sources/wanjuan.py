"""WanJuan 1.0 (书生·万卷): Chinese and English text by Shanghai AI Laboratory, given out by OpenDataLab.

OpenDataLab wants an account and its own client or web page, so nothing here fetches it: put the files into a folder and
`data download wanjuan --out FOLDER` checks and registers them.
"""

from data_prep.sources.hub_dataset import HubDataset, Subset

PAGE = "https://opendatalab.com/OpenDataLab/WanJuan1_dot_0"

WANJUAN = HubDataset(
    name="wanjuan",
    title="WanJuan 1.0",
    home=PAGE,
    license="CC-BY-4.0",
    category="web",
    languages=("zh", "en"),
    about_en="Chinese and English text (news, patents, exams, encyclopedia, web) from OpenDataLab; needs an account.",
    about_zh="书生·万卷：中英文本（新闻、专利、考题、百科、网页），来自 OpenDataLab，需要账号，不在 Hugging Face 上。",
    subsets=(Subset("default", ""),),
    bytes_per_token=4.1,
    suffixes=(".jsonl", ".jsonl.gz", ".jsonl.zst", ".jsonl.xz"),
    text_field="content",
    id_field="id",
    by_hand=(
        f"WanJuan comes from OpenDataLab, which wants an account: sign up and accept the terms at {PAGE}, fetch the "
        "text part (raw/nlp/CN and raw/nlp/EN) there or with its client (pip install openxlab; openxlab login; "
        "openxlab dataset download --dataset-repo OpenDataLab/WanJuan1_dot_0 --source-path /raw/nlp/CN), unpack the "
        ".tar.gz files, and put the .jsonl files into {out}; then give the same command again: it checks and "
        "registers them"
    ),
    facts_from=(
        "arXiv 2308.10755 (more than 2 TB of text, images and video)",
        PAGE,
        "folders raw/nlp/CN/Patent-cn, raw/nlp/CN/Exam-cn and names part-003756-a894b46e.jsonl as users list them",
    ),
    unchecked=(
        "licence: lists name CC-BY-4.0 for OpenDataLab's and CC-BY-NC for a copy on ModelScope "
        "(Shanghai_AI_Laboratory/WanJuan1_dot_0): read the page's terms before a commercial use",
        "tokens and size of the text part (a list of sources gives 334 GB and 74 billion Chinese tokens)",
        "the client's command line may have changed; the keys `id` and `content` are checked when files are registered",
    ),
)
