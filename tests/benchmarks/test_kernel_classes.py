"""Real kernel names, each with the work it does."""

import pytest

from benchmarks import kernel_classes
from benchmarks.kernel_classes import (
    ATTENTION,
    CASTS,
    CLASSES,
    CROSS_ENTROPY,
    GEMM,
    NORM,
    OPTIMIZER,
    OTHER,
    ROPE,
    SWIGLU,
    kernel_class,
)

ELEMENTWISE = "void at::native::vectorized_elementwise_kernel<4, at::native::"
TENSOR_LIST = "void at::native::(anonymous namespace)::multi_tensor_apply_kernel<at::native::(anonymous namespace)::"
NAMES = {
    GEMM: (
        "nvjet_hsh_256x128_64x4_1x2_h_bz_coopA_NNT",
        "nvjet_sm90_hss_64x8_64x16_1x1_h_bz_splitK_NNT",
        "nvjet_tst_192x192_64x4_2x1_v_bz_coopA_TNN",
        "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute_segment_k_off_kernel",
        "sm90_xmma_gemm_e4m3bf16_e4m3f32_f32_tn_n_tilesize128x256x128_cgasize2x1x1_stages4_kernel__5x_cublas",
        "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_256x128_64x3_tn_align8>(Params)",
        "void cublasLt::splitKreduce_kernel<32, 16, int, float, __nv_bfloat16, float, false>(Params)",
        "triton_tem_fused_mm_3",
        "kernel_cutlass_kernel_quackgemm_actGemmGatedSm90_object_at__TiledMMA_ThrLayoutVMNK2111_0",
        "kernel_cutlass_kernel_quackgemm_dactGemmDGatedSm90_object_at__TiledMMA_0",
        "kernel_cutlass_kernel_quackgemm_default_epiGemmDefaultSm90_object_at__TiledMMA_0",
        "kernel_cutlass_kernel___main__HopperWgmmaGemmPersistentKernel_object_at__CopyAtom_ThrID10_0",
    ),
    ATTENTION: (
        "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_4x1x1_kernel0_0",
        "cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma_f16_knob_26_64x64x128_1x1x1_kernel0_0",
        "void cudnn::fusion::compute_dot_do_o_specialized<true, 128>(float*, float const*)",
        "void cudnn::fusion::convert_dq_to_16bits<true, 128>(void*, float const*)",
        "void pytorch_flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<Flash_bwd_kernel_traits<128, 64, 128>>()",
        "void flash::flash_bwd_dot_do_o_kernel<true, Flash_bwd_kernel_traits<128>>(flash::Flash_bwd_params)",
        "void cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnFwdSm90<CollectiveMainloopFwdSm90>>>",
        "kernel_cutlass_kernel_flash_attncuteflash_fwd_sm90FlashAttentionForwardSm90_object_at__tensorptrbf16_0",
        "kernel_cutlass_kernel_flash_attncuteflash_bwd_postprocessFlashAttentionBackwardPostprocess_object_at__0",
        "fmha_cutlassF_bf16_aligned_64x128_rf_sm80(PyTorchMemEffAttention::AttentionKernel::Params)",
        "triton_tem_fused_flex_attention_backward_7",
    ),
    SWIGLU: (
        "void transformer_engine::gated_act_kernel<8, true, float, transformer_engine::Empty, &(float "
        "transformer_engine::silu<float, float>(float, transformer_engine::Empty const&)), __nv_bfloat16>",
        "void transformer_engine::dispatch::fp8::kernel::cast_fp8_gated_kernel<true, transformer_engine::Empty, &",
        "void transformer_engine::detail::dgated_act_cast_transpose_kernel<2, 4, float, __nv_bfloat16, __nv_fp8_e4m3>",
        "triton_poi_fused_mul_silu_split_0",
        "triton_poi_fused__to_copy_add_cat_mul_rsub_sigmoid_split_1",
        "triton_poi_fused__unsafe_view_add_fill_mul_sigmoid_silu_sub_9",
        "kernel_cutlass_kernel_quackswigluSwiGLU_object_at__0",
        "_swiglu_forward_kernel",
    ),
    CASTS: (
        "void transformer_engine::detail::(anonymous namespace)::cast_transpose_general_kernel<8ul, 8ul, float>",
        "void transformer_engine::delayed_scaling_recipe::kernel_bulk(float*, float*, unsigned long)",
        "void transformer_engine::dispatch::fp8_blockwise::group_block_scaled_1d_tma_kernel<false, false, true, float>",
        "void transformer_engine::transpose_kernel<8, 8, __nv_fp8_e4m3>(__nv_fp8_e4m3 const*, float const*)",
        "void transformer_engine::(anonymous namespace)::multi_tensor_swizzle_row_scaling_kernel<int, 128, 4>",
        "void multi_tensor_apply_kernel<TensorListMetadata<3, false>, transformer_engine::multi_tensor_compute_scale::"
        "ComputeScaleAndScaleInvFunctor, float, bool, float>",
        "void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda, at::native::memory::"
        "LoadWithCast<1>, at::native::memory::StoreWithCast<1>>",
        ELEMENTWISE + "bfloat16_copy_kernel_cuda(at::TensorIteratorBase&)::{lambda(float)#1}>",
        "triton_poi_fused__to_copy_12",
        "triton_poi_fused__to_copy_t_3",
    ),
    NORM: (
        "void transformer_engine::normalization::rmsnorm_fwd_tuned_kernel<transformer_engine::normalization::Kernel>",
        "rmsnorm_bwd_finalize_tuned_kernel",
        "triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_4",
        "triton_per_fused__fused_rms_norm_add_view_2",
        "kernel_cutlass_kernel_quackrmsnormRMSNormBackward_object_at__tensorptrbf16gmem_0",
        "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<c10::BFloat16, float, true>",
    ),
    ROPE: (
        "void transformer_engine::fused_rope_forward_kernel<__nv_bfloat16>(__nv_bfloat16 const*, int const*)",
        "void transformer_engine::fused_qkv_rope_backward_kernel<__nv_bfloat16>(__nv_bfloat16 const*)",
        "kernel_cutlass_kernel_quackrotaryRotary_object_at__tensorptrbf16gmem_0",
        "triton_poi_fused_add_cat_mul_neg_slice_unsqueeze_5",
        ELEMENTWISE + "BinaryFunctor<c10::complex<float>, c10::complex<float>, MulFunctor>>",
    ),
    OPTIMIZER: (
        TENSOR_LIST + "FusedOptimizerTensorListMetadata<4>, at::native::FusedAdamMathFunctor<float, 4, ADAM_MODE>>",
        TENSOR_LIST + "TensorListMetadata<1>, at::native::LpNormFunctor<float, NormType::L2, float>>",
        "void at::native::lpnorm_cleanup<float, (at::native::NormType)1, float, float, 512>",
        "void multi_tensor_apply_kernel<TensorListMetadata<4>, AdamFunctorMaster<float, int>, float*, int>",
        "void transformer_engine::multi_tensor_apply::multi_tensor_apply_kernel<TensorListMetadata<1>, L2NormFunctor>",
        "void multi_tensor_apply_kernel<TensorListMetadata<2>, ScaleFunctor<float, float>, float>",
        "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::NormTwoOps<float, float>>>",
    ),
    CROSS_ENTROPY: (
        "cross_entropy_forward_kernel",
        "liger_cross_entropy_kernel",
        "triton_red_fused__log_softmax_nll_loss_forward_6",
        "triton_red_fused_amax_sub_3",
        "triton_red_fused_clone_exp_sub_sum_2",
        "kernel_cutlass_kernel_quackcross_entropyCrossEntropy_object_at__tensorptrbf16gmem_0",
        "void at::native::(anonymous namespace)::cunn_SoftMaxForward<4, float, LogSoftMaxForwardEpilogue>",
    ),
    OTHER: (
        ELEMENTWISE + "CUDAFunctor_add<c10::BFloat16>, std::array<char*, 3ul>>",
        ELEMENTWISE + "FillFunctor<float>, std::array<char*, 1ul>>(int)",
        "void at::native::elementwise_kernel<128, 4, at::native::direct_copy_kernel_cuda(at::TensorIteratorBase&)>",
        "Memcpy DtoD (Device -> Device)",
        "Memset (Device)",
        "void at::native::(anonymous namespace)::indexSelectLargeIndex<c10::BFloat16, long, unsigned int, 2, 2, -2>",
        "ncclDevKernel_Broadcast_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
        "triton_poi_fused_add_7",
    ),
}


@pytest.mark.parametrize("kind, name", [(kind, name) for kind, names in NAMES.items() for name in names])
def test_a_kernel_has_the_class_of_its_work(kind: str, name: str) -> None:
    assert kernel_class(name) == kind


def test_every_class_is_reached_and_every_pattern_belongs_to_one() -> None:
    assert set(NAMES) == set(CLASSES)
    assert {kind for kind, _ in kernel_classes.PATTERNS} <= set(CLASSES)
