"""Chinese words of the checks of training, data and model."""

from megatron_recipe.diagnose.strings.words import CheckWords

TRAINING = {
    "rate_not_as_planned": CheckWords(
        "学习率与计划不符",
        "记录的学习率与 config.yaml 的安排不同。",
        "有 {RATE_RECORDS} 条或更多记录偏差超过 {RATE_ERROR:.0%}",
        "续训时改了长度或批量；代码另行设置了学习率；调度的计量单位不对",
        "把 learning_rate 与计划画在一起；比较 config.yaml 与检查点中的配置",
        "使用原定的调度；改变长度就另开一个运行",
    ),
    "warmup_missing": CheckWords(
        "没有预热",
        "最初几步就用满学习率，而 AdamW 的滑动平均还只来自少数梯度。",
        "schedule.warmup_fraction 不足一步；早期 update_ratio 超过 {EARLY_UPDATE:g} 或损失上升 "
        "{EARLY_RISE_NATS:g} 时为错误",
        "warmup_fraction=0，或小到四舍五入后没有一步",
        "前四分之一的 loss_max、grad_norm_max 和 update_ratio",
        "schedule.warmup_fraction=0.02 或更大（100 到 2,000 步）",
    ),
    "batch_too_small": CheckWords(
        "批量太小",
        "损失逐步跳动：每步的梯度大多是噪声。",
        "每步不足 {SMALL_BATCH_TOKENS:,.0f} 个 token 且 loss_jitter 中位数超过 {JITTER_NATS:g} nat",
        "global_batch_size_samples 太小；序列太短；漏了梯度累积",
        "与四倍批量的运行比较 loss_jitter 和 clipped_share",
        "增大 batch.global_batch_size_samples（累积不占显存），或按比值的平方根降低学习率",
    ),
    "no_clipping": CheckWords(
        "没有梯度裁剪",
        "一个坏批次的梯度有多大，权重就被推多远。",
        "optimizer.clip_grad_norm=0；有范数超过中位数 {GRADIENT_RATIO:g} 倍时为错误",
        "关闭了裁剪",
        "各区间的 grad_norm_max；是哪些样本：data who RUN --step",
        "optimizer.clip_grad_norm=1.0",
    ),
    "update_too_large": CheckWords(
        "学习率太高",
        "一步就改变矩阵的很大一部分；激活值和注意力 logit 随之增长。",
        "任一记录的 update_ratio 超过 {LARGE_UPDATE:g}",
        "学习率高了十倍；没有预热；init_std 太小",
        "update_ratio（通常 0.001 到 0.1）、attention_logit_max、activation_rms_last；lab compare learning_rate",
        "把 schedule.peak_learning_rate 降到三分之一或十分之一；延长预热",
    ),
    "sgd_does_not_learn": CheckWords(
        "用了 SGD 而不是 AdamW",
        "梯度看起来正常，损失却下降很慢或不下降。",
        "optimizer.kind=sgd；损失不下降时为错误",
        "各权重的梯度相差几个数量级，却用同一个步长",
        "各类层的 grad_norm 和 update_ratio",
        "optimizer.kind=adamw，并用它自己的学习率",
    ),
    "update_too_small": CheckWords(
        "学习率太低",
        "权重几乎不动；损失缓慢而平滑地下降。",
        "预热后前半段 update_ratio 中位数低于 {SMALL_UPDATE:g}；低于 {TINY_UPDATE:g}，或损失不下降且低于 "
        "{SLOW_UPDATE:g} 时为错误",
        "学习率太低；单位写错；裁剪阈值远低于通常的范数；SGD 用了 AdamW 的学习率",
        "update_ratio、clipped_share、learning_rate",
        "把 schedule.peak_learning_rate 提高 3 到 10 倍；用 lab compare learning_rate 来找",
    ),
    "not_a_number": CheckWords(
        "出现 NaN",
        "损失或梯度是 NaN 或无穷大。",
        "任何这样的记录或事件；运行以此结束时为错误",
        "学习率太高；FP16 溢出；注意力 logit 爆炸；数据或内存损坏",
        "前一步的 attention_logit_max、activation_rms_last、grad_norm_max；gpu_ecc_errors",
        "stability.on_nan=rollback；用 BF16 代替 FP16；model.qk_norm=true；降低学习率",
    ),
    "loss_explodes": CheckWords(
        "损失爆炸",
        "损失上升后不再回来。",
        "末尾中位数比最低的滑动中位数高出 {EXPLODED_NATS:g} nat、{EXPLODED_SHARE:.0%}，且 "
        "{EXPLODED_DEVIATIONS:g} 倍记录噪声",
        "学习率太高；没有裁剪；没有预热；注意力 logit 爆炸；半精度",
        "谁先增长：update_ratio、grad_norm_max、attention_logit_max 还是 activation_rms_last",
        "回到上升之前的检查点，用更低的学习率、裁剪和预热",
    ),
    "gradient_explodes": CheckWords(
        "梯度范数爆炸",
        "梯度范数是以前的许多倍。",
        "滑动中位数超过全程中位数的 {GRADIENT_RATIO:g} 倍；末尾超过前半段 {GRADIENT_RATIO:g} 倍时为错误",
        "学习率太高；坏数据；某一层发散",
        "layer_grad_norms：是哪一层；各类层的 grad_norm；该步的样本（data who）",
        "optimizer.clip_grad_norm=1.0、更低的学习率、model.qk_norm=true",
    ),
    "loss_does_not_fall": CheckWords(
        "损失不下降",
        "损失停在 ln(词表大小) 附近，即瞎猜的水平。",
        "预热后 {FALLEN_STEPS:.0f} 步，末尾中位数仍高于 {FALLEN_PART:.2f} × ln(词表大小)",
        "学习率过高或过低；SGD；标签与 token 对不上；梯度为零",
        "update_ratio、zero_grad_share、learning_rate；读几个样本（data who）",
        "找学习率（lab compare learning_rate）；检查数据集（data verify）",
    ),
    "validation_diverges": CheckWords(
        "验证损失与训练损失分离",
        "训练损失下降而验证损失上升，或远高于训练损失。",
        "训练下降时验证损失比最好值高 {RISEN_NATS:g}，或比训练损失高 {APART_NATS:g}（两倍为错误）",
        "少量文本重复了太多遍；验证文本类型不同；训练文本泄漏",
        "轮数；各命名验证集的损失",
        "更多文本、更少轮数、更小的模型；保留最好的检查点（checkpoint.keep_best）",
    ),
    "loss_oscillates": CheckWords(
        "损失振荡",
        "批量很大，损失仍逐步跳动。",
        "每步不少于 {SMALL_BATCH_TOKENS:,.0f} 个 token 而 loss_jitter 中位数超过 {JITTER_NATS:g} nat",
        "学习率太高；尖峰之后 beta2 太大；各类文本成块出现",
        "update_ratio；相邻批次是否来自同一来源",
        "降低学习率；打乱数据；optimizer.beta2=0.95",
    ),
    "always_clipped": CheckWords(
        "每个梯度都被裁剪",
        "步长由裁剪决定，而不是学习率。",
        "末尾 clipped_share 中位数不低于 {ALWAYS_CLIPPED:g}",
        "阈值低于通常的范数；批量太小；初始化太宽",
        "grad_norm 与 optimizer.clip_grad_norm 对比",
        "增大批量或阈值，或降低学习率",
    ),
}
DATA = {
    "data_stretch": CheckWords(
        "一段坏数据",
        "损失在一处跳起，随后回落。",
        "loss_max 比之前的中位数高出 {SPIKE_JITTERS:g} × loss_jitter 且 {SPIKE_NATS:g} nat，并在 "
        "{RECOVERY_RECORDS:.0f} 条记录内回落，或有尖峰事件；权重吸收了它或运行因此结束时为错误",
        "损坏或外来的文本；重复字符；一个来源成块出现；或者与数据无关：学习率到了极限",
        "data who RUN --step STEP 给出文档；若文档没有问题：换个种子或降低学习率，那里还跳吗？",
        "跳过（train --skip-samples FIRST:STOP、stability.on_loss_spike=rollback）；过滤；裁剪梯度",
    ),
    "vocabulary_mismatch": CheckWords(
        "分词器与权重不匹配",
        "训练过的权重一开始就和随机权重一样差，或词表大小与分词器不同。",
        "使用 train.init_from 时 initial_loss 高于 {KNOWN_SHARE:g} × ln(词表大小)；或行数比 token 多 "
        "{UNUSED_ROWS:.0f} 以上",
        "数据集用了别的分词器；id 顺序不同；model.vocab_size 写错",
        "两个数据集 manifest.json 中的 tokenizer.sha256",
        "用权重对应的分词器准备数据",
    ),
    "data_not_shuffled": CheckWords(
        "数据没有打乱或原地重复",
        "损失成块变化：一条记录之内相近，记录之间不同。",
        "记录之间的方差超过由 loss_jitter 推算值的 {ORDER_RATIO:g} 倍，且偏差超过 {ORDER_NATS:g} nat",
        "文档按来源或长度排序；漏了打乱；同一批次反复出现",
        "对相邻的步用 data who RUN：来源混合了吗？",
        "打包前打乱文档；按权重混合来源",
    ),
    "data_repeats": CheckWords(
        "轮数太多",
        "同样的文本读了许多遍。",
        "超过 {EPOCHS:g} 轮",
        "相对运行长度，数据集太小",
        "验证损失还在下降吗？",
        "更多文本或更少步数；超过 4 轮后重复文本价值很小（Muennighoff 等，2023）",
    ),
}
MODEL = {
    "initial_loss": CheckWords(
        "起始损失不对",
        "第一步的损失远离 ln(词表大小)。",
        "高于 ln(词表大小) + {ABOVE_NATS:g} + hidden_size × init_std² / 2（最多 {WIDTH_NATS:g}），或低于 "
        "ln(词表大小) - {BELOW_NATS:g}",
        "初始化不当（偏高）；模型看得见标签（偏低）",
        "model.init_std；第一条记录的 logit_max",
        "model.init_std=0.02；检查因果掩码和标签",
    ),
    "loss_scale": CheckWords(
        "FP16 损失缩放崩溃",
        "缩放一再减半，小梯度变成 0。",
        "末尾中位数不超过 {SCALE_FLOOR:g}，或比最高值低 {SCALE_FALL:g} 倍",
        "激活或梯度超过 65,504；学习率太高；能用 BF16 却用了 FP16",
        "activation_rms_last、zero_grad_share、update_skipped 事件",
        "precision.dtype=bf16；降低学习率；model.qk_norm=true",
    ),
    "attention_logits": CheckWords(
        "注意力 logit 爆炸",
        "softmax 把全部权重放在一个位置，不再传梯度。",
        "末尾 attention_logit_max 中位数超过 {ATTENTION_WATCHED:g} × √head_dim（错误：{ATTENTION_LIMIT:g} 倍）；"
        "head_dim 为 128 时是 283，健康的 gpt_100m 可达 190",
        "查询和键的权重不断增长；学习率太高；没有 QK norm",
        "layer_attention_logits：是哪一层；update_ratio_attention",
        "model.qk_norm=true；降低学习率；增大权重衰减",
    ),
    "norms_decayed": CheckWords(
        "权重衰减作用到了 norm",
        "norm 的权重向 0 收缩。",
        "weight_rms_norms 的下降超过单纯权重衰减所致下降的 {DECAY_SHARE:.0%}",
        "权重衰减作用到了不该作用的参数",
        "全程的 weight_rms_norms；优化器的参数组",
        "norm 和偏置不做权重衰减",
    ),
    "zero_gradients": CheckWords(
        "梯度为零",
        "层内许多梯度恰好为 0。",
        "末尾 zero_grad_share 中位数超过 {ZERO_WATCHED:g}（错误：{ZERO_LIMIT:g}）",
        "FP16 无损失缩放而下溢；模型某部分被切断；单元死亡",
        "layer_grad_norms；loss_scale；precision.dtype",
        "BF16，或带损失缩放的 FP16；检查冻结了什么",
    ),
    "activations": CheckWords(
        "激活值爆炸",
        "残差流无限增长。",
        "末尾 activation_rms_last 中位数超过 {ACTIVATION_WATCHED:g}（错误：{ACTIVATION_LIMIT:g}）",
        "学习率太高；没有权重衰减；初始化太宽",
        "layer_activation_rms：从哪里开始；update_ratio",
        "降低学习率；权重衰减 0.1；输出投影按 1/√(2 × 层数) 缩放",
    ),
    "output_logits": CheckWords(
        "输出 logit 漂移",
        "词表上的 logit 变得很大。",
        "末尾 logit_max 中位数超过 {LOGIT_WATCHED:g}（错误：{LOGIT_LIMIT:g}）",
        "输出层没有权重衰减；后期学习率太高",
        "全程的 logit_max",
        "权重衰减；z-loss；降低末期学习率",
    ),
}
WORDS = {**TRAINING, **DATA, **MODEL}
