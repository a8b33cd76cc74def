"""Parameter counts that others have published, to compare ours with.

Sources: `safetensors.total` of the Hugging Face hub's API, which for Llama 2 and DeepSeek counts some buffers too, and
counts that people printed from the loaded model (`num_parameters()`), as found in public repositories.
"""

from __future__ import annotations

PUBLISHED: dict[str, int] = {
    "meta-llama/Llama-2-7b-hf": 6_738_417_664,
    "meta-llama/Llama-2-13b-hf": 13_015_866_880,
    "meta-llama/Llama-2-70b-hf": 68_976_653_312,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
    "meta-llama/Llama-3.1-70B": 70_553_706_496,
    "meta-llama/Llama-3.1-405B": 405_853_388_800,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "meta-llama/Llama-3.2-3B": 3_212_749_824,
    "Qwen/Qwen-7B": 7_721_324_544,
    "Qwen/Qwen1.5-14B": 14_167_290_880,
    "Qwen/Qwen1.5-MoE-A2.7B": 14_315_784_192,
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-3B": 3_085_938_688,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "Qwen/Qwen2.5-32B": 32_763_876_352,
    "Qwen/Qwen2.5-72B": 72_706_203_648,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-30B-A3B": 30_532_122_624,
    "Qwen/Qwen3-235B-A22B": 235_093_634_560,
    "mistralai/Mistral-7B-v0.1": 7_241_732_096,
    "mistralai/Mistral-7B-v0.3": 7_248_023_552,
    "mistralai/Mixtral-8x7B-v0.1": 46_702_792_704,
    "google/gemma-2-2b": 2_614_341_888,
    "google/gemma-2-9b": 9_241_705_984,
    "google/gemma-2-27b": 27_227_128_320,
    "google/gemma-3-4b-it": 4_300_079_472,
    "google/gemma-3-12b-it": 12_187_325_040,
    "google/gemma-3-27b-it": 27_432_406_640,
    "microsoft/Phi-3-mini-4k-instruct": 3_821_079_552,
    "microsoft/phi-4": 14_659_507_200,
    "microsoft/Phi-4-mini-instruct": 3_836_021_760,
    "THUDM/chatglm3-6b": 6_243_584_000,
    "THUDM/glm-4-9b": 9_399_951_360,
    "01-ai/Yi-6B": 6_061_035_520,
    "deepseek-ai/deepseek-llm-7b-chat": 6_910_365_696,
    "deepseek-ai/deepseek-moe-16b-base": 16_375_728_128,
    "deepseek-ai/DeepSeek-V2-Lite": 15_706_484_224,
    "deepseek-ai/DeepSeek-V3": 671_026_419_200,
    "baichuan-inc/Baichuan-7B": 7_000_559_616,
    "internlm/internlm2_5-1_8b-chat": 1_889_110_016,
    "internlm/internlm2-7b": 7_737_708_544,
    "internlm/internlm2_5-20b-chat": 19_861_149_696,
}
