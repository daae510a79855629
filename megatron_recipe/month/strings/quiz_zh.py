"""Chinese questions."""

QUIZ: dict[str, tuple[str, ...]] = {
    "spike": (
        "第 {step:,} 步，{quantity}突然跳变。为什么？你怎么知道？你做了什么？",
        "依据是 events.jsonl：{value:.2f}，而中位数是 {median:.2f}，相差 {deviations:.0f} 倍稳健偏差；全程共 "
        "{jumps} 次跳变。",
        "仅凭一次跳变说明不了多少：要看后面的记录里损失是否回来，以及读了哪些文档（megatron-recipe data who RUN "
        "--step {step}）。",
    ),
    "spike_skipped": (
        "第 {step:,} 步，{quantity}突然跳变。为什么？你怎么知道？你做了什么？",
        "依据是 events.jsonl：{value:.2f}，而中位数是 {median:.2f}，相差 {deviations:.0f} 倍稳健偏差；全程共 "
        "{jumps} 次跳变。",
        "这一步的更新被跳过，第 {after_step:,} 步损失为 {after:.2f}：是单个批次的问题，不是发散；若是学习率过高，"
        "会立刻再次出现。",
        "是哪些文档，用 megatron-recipe data who RUN --step {step} 查看；只有这样才能证明原因。",
    ),
    "spike_rolled_back": (
        "第 {step:,} 步，{quantity}突然跳变。为什么？你怎么知道？你做了什么？",
        "依据是 events.jsonl：{value:.2f}，而中位数是 {median:.2f}，相差 {deviations:.0f} 倍稳健偏差。",
        "训练退回第 {to_step:,} 步的检查点，略过 {skipped:,} 个样本，到第 {after_step:,} 步时损失为 {after:.2f}。",
        "同样的权重换了样本就通过了，因此可疑的是那段数据，而不是学习率；megatron-recipe data who 能看到其中的文档。",
    ),
    "speed": (
        "训练有多快？你怎么知道它不算慢？",
        "{world_size} × {device}，{parameters:,.1f}M 参数：{tokens_per_second:,.0f} token/秒（各记录的中位数）。",
        "MFU 按完整注意力 {mfu:.1%}，按实际计算的因果一半 {mfu_causal:.1%}：有效运算量除以显卡峰值。此规模通常为 "
        "40%–60%；只说 token/秒无从比较。",
    ),
    "speed_without_mfu": (
        "训练有多快？为什么不给出 MFU？",
        "{device}，{parameters:,.2f}M 参数：{tokens_per_second:,.0f} token/秒（中位数），最慢的记录为 {slowest:,.0f}。",
        "MFU 是设备峰值的百分比，而表中没有此设备的峰值：没有数字，好过编造的数字。",
    ),
    "resumed": (
        "训练中断过。你怎么知道什么都没丢？",
        "{run} {why}，从第 {step:,} 步继续（events.jsonl）。",
        "之前：第 {before_step:,} 步损失 {before:.3f}；之后：第 {after_step:,} 步 {after:.3f}。这里不应有台阶，"
        "因为权重、优化器、学习率日程和数据位置都存了下来。",
    ),
    "checkpoints": (
        "你保留多少个检查点？保存的代价是多少？",
        "现有 {count} 个完整的（第 {steps} 步），共保存 {saves} 次；每次中位数 {seconds:.2f} 秒。",
        "要留几个，因为最新的可能损坏：每个都有校验和，加载的是能通过校验的最新一个。",
    ),
    "feeding": (
        "你的模型训练得够吗？与什么相比？",
        "{parameters:,.2f}M 参数用了 {tokens:,.2f}M token，每参数 {ratio:.2f} 个，损失 {loss:.2f}。",
        "Hoffmann 等（2022）得出：计算量一定时每参数约 20 个最好，此处即 {wanted:,.1f}M；本次训练{verdict}这个数。"
        "小模型常常训练得远多于此，因为用起来更便宜。",
    ),
    "bill": (
        "这次训练花了多少钱？每十亿 token 多少？",
        "{starts} 次启动共 {hours:.2f} 小时，{money:,.2f} {currency}（spending.json）：每十亿 token "
        "{per_billion:,.2f}。机器空闲的时间不在其中。",
    ),
    "perplexity": (
        "你的验证损失是 {loss:.3f}，算好吗？",
        "单独看说明不了什么：它取决于分词器。同样的文本，不看上下文只数词频（unigram）是 {unigram:.3f}，"
        "两者之差就是上下文的价值。",
        "区间为 {low:.3f} 到 {high:.3f}，共 {tokens:,.2f}M token；困惑度 {perplexity:.1f} 是它的指数。",
        "与使用其他分词器的模型相比，我会用每字节 {bits_per_byte:.3f} 比特。",
    ),
    "dataset": (
        "你的数据集是什么？丢掉了什么？",
        "读入 {read:,} 个文档，保留 {kept:,} 个；训练 token {tokens:,.2f}M，每个 {bytes_per_token:.2f} 字节，词表 "
        "{vocabulary:,}。每种原因都在 manifest.json 里计数，合计对得上。",
    ),
    "duplicates_near": (
        "你怎么找近似重复？有多少？",
        "{read:,} 个文档中有 {removed:,} 个（{share:.2%}），Jaccard 相似度不低于 {threshold}。",
        "MinHash 签名分带，不必两两比较就能提出候选；每一对再用 5 字符片段的精确 Jaccard 判定，不凭猜测删除。",
    ),
    "methods": (
        "为什么用 MinHash，而不是 SimHash 或普通哈希？",
        "在植入的副本上：召回率精确哈希 {exact_recall:.1%}，MinHash {minhash_recall:.1%}，SimHash "
        "{simhash_recall:.1%}；精确率 {exact_precision:.1%}、{minhash_precision:.1%}、{simhash_precision:.1%}。",
        "普通哈希看不出改了一个词的副本。SimHash 把文档压成 64 比特，短文本在其中变动很大。",
    ),
    "tokenizers": (
        "你选了哪个分词器？依据哪个数字？",
        "{tokenizers} 个中选 {best}：每 token {bytes_per_token:.2f} 字节（{by_source}），Rényi 效率 {renyi:.3f}。",
        "按每字节文本的训练运算量排名（{gflop_per_byte:.2f} · 10⁹，最差 {worst_gflop:.2f}），"
        "因为压缩得更好要用更大的嵌入层来换。{lossy} 个会丢失文本，不参与排名。",
    ),
    "exported": (
        "你怎么知道导出的模型就是训练出来的那个？",
        "在 {tokens:,} 个 token 上两者的 logits 最大差 {difference:.1e}，最高概率 token 相同的占 "
        "{agreement:.1%}（export.json，第 {step:,} 步）。",
    ),
    "benchmark": (
        "你在 {name} 上的得分说明什么？",
        "{of:,} 题中的 {questions:,} 题，{score:.1%} ± {error:.1%}，随机为 {chance:.0%}：{verdict}。",
        "以两倍标准误判断；旁边已发表的得分出自不同的评测工具和设置。",
    ),
    "comparison": (
        "对比 {name} 证明了什么？没有证明什么？",
        "{conclusion}共 {settings} 种设置，{seeds} 个种子，{runs} 次训练，每次 {tokens:,.2f}M token。",
        "token 数相同，各设置的种子相同，区间来自种子间的差异。结论只对这个规模和长度成立；“未显示差别”也不等于"
        "“相同”。",
    ),
    "incident": (
        "{title}：会发生什么？怎么识别？怎么办？",
        "在我的试验（{name}）中：{verdict}；验证损失 {incident:.3f}，健康的对照为 {control:.3f}。判据的第一个数字："
        "{evidence}。",
        "原因：{cause}",
        "对策：{remedy_text}采取对策后为 {remedy:.3f}：{recovered}。",
    ),
    "gpu_readings": (
        "你的 GPU 有多忙？",
        "{records} 条记录的中位数：利用率 {utilisation:.0f} %，{watts:.0f} W；最高 {celsius:.0f} °C、{memory:.1f} GB。"
        "利用率说明有核函数在跑，功耗说明跑得多用力。",
    ),
    "diagnosis": (
        "训练期间你每天怎么看它？",
        "用 megatron-recipe diagnose 看了 {times} 次，{healthy} 次健康；第 {step:,} 步时 {checks} 项检查中 {wrong} "
        "项异常，{attention} 项需留意。",
    ),
}
PAGE = {
    "kind": "用你自己的数字做测验",
    "title": "这个月的面试题",
    "lede": "每个问题都来自你的目录里找到的东西。先出声回答，再往下看：答案里的每个数字都出自下面注明的文件，"
    "或由其中的数字算出。",
    "place": "换成你自己的话怎么说？",
    "origin": "出自 {file}：{evidence}",
    "footer": "megatron-recipe {version}，{time}。由 megatron-recipe today --quiz 重写；你写的话会保留。",
}
