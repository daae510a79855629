"""Every word of the page of samples, in English and Chinese."""

TABLES = {
    "en": {
        "language": "en",
        "page.title": "Continuations side by side",
        "lede": "{models} models, {prompts} prompts: the most likely continuation of each, and sampled ones.",
        "samples.empty": "(nothing)",
        "figures.title": "Figures",
        "figures.caption": "Of all continuations of a model, by the way they were chosen",
        "column.model": "Model",
        "column.mode": "Chosen",
        "column.texts": "Texts",
        "column.empty": "Empty",
        "column.length": "Mean length",
        "column.repetition": "Repetition",
        "column.distinct": "Distinct {n}-grams",
        "note": "Length is in words, Chinese in characters. Repetition is the share of a text's 4-grams that stand in "
        "it before (seq-rep-4, Welleck et al. 2020): lower is better, text that people write has nearly none. Distinct "
        "n-grams are the share of different ones among those of all texts (Li et al. 2016).",
        "texts.title": "Texts",
        "mode.greedy": "most likely",
        "mode.sampled": "sampled, temperature {temperature}, seed {seed}",
        "greedy": "most likely",
        "sampled": "sampled",
        "missing": "not generated",
        "footer": "megatron-recipe {version}; generated {times}",
    },
    "zh": {
        "language": "zh-CN",
        "page.title": "续写并排对比",
        "lede": "{models} 个模型，{prompts} 条提示：每条给出最可能的续写与采样的续写。",
        "samples.empty": "（空）",
        "figures.title": "指标",
        "figures.caption": "每个模型的全部续写，按选词方式分列",
        "column.model": "模型",
        "column.mode": "选词",
        "column.texts": "条数",
        "column.empty": "空",
        "column.length": "平均长度",
        "column.repetition": "重复率",
        "column.distinct": "不同 {n} 元组",
        "note": "长度以词计，中文以字计。"
        "重复率是一段文字中此前已出现过的四元组所占的比例（seq-rep-4，Welleck 等 2020）："
        "越低越好，人写的文字几乎为零。不同 n 元组是全部续写中互不相同者所占的比例（Li 等 2016）。",
        "texts.title": "文本",
        "mode.greedy": "最可能",
        "mode.sampled": "采样，温度 {temperature}，种子 {seed}",
        "greedy": "最可能",
        "sampled": "采样",
        "missing": "未生成",
        "footer": "megatron-recipe {version}；生成于 {times}",
    },
}
