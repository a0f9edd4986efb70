"""Names and shapes of parameters that checkpoints of each model have, with the default configuration.

A parameter of the first block is its name, without `.weight`, or with `=` in
front where it has another ending, and its shape; semicolons separate them.
"""

BLOCK = {
    "abc": """
        attn_norm 2048; attn.q_proj 1024x2048; attn.k_proj 1024x2048; attn.v_proj 2048x2048; attn.g_proj
        2048x2048; attn.s_proj 256x2048; attn.o_proj 2048x2048; attn.g_norm 512; mlp_norm 2048; mlp.gate_proj
        5632x2048; mlp.up_proj 5632x2048; mlp.down_proj 2048x5632
    """,
    "bitnet": """
        attn_norm 2048; attn.q_proj 2048x2048; attn.q_proj.norm 2048; attn.k_proj 2048x2048; attn.k_proj.norm
        2048; attn.v_proj 2048x2048; attn.v_proj.norm 2048; attn.o_proj 2048x2048; attn.o_proj.norm 2048;
        mlp_norm 2048; mlp.gate_proj 5632x2048; mlp.up_proj 5632x2048; mlp.down_proj 2048x5632
    """,
    "comba": """
        attn_norm 2048; =attn.decay 6; =attn.D 6; =attn.A_log 6; =attn.dt_bias 6; attn.q_proj 1536x2048;
        attn.k_proj 1536x2048; attn.v_proj 3072x2048; attn.a_proj 6x2048; attn.b_proj 6x2048; attn.q_conv1d
        1536x1x4; attn.k_conv1d 1536x1x4; attn.v_conv1d 3072x1x4; attn.g_proj 3072x2048; attn.o_norm 512;
        attn.o_proj 2048x3072; mlp_norm 2048; mlp.gate_proj 5632x2048; mlp.up_proj 5632x2048; mlp.down_proj
        2048x5632
    """,
    "delta_net": """
        attn_norm 2048; attn.q_proj 2048x2048; attn.k_proj 2048x2048; attn.v_proj 2048x2048; attn.b_proj
        16x2048; attn.q_conv1d 2048x1x4; attn.k_conv1d 2048x1x4; attn.v_conv1d 2048x1x4; attn.o_norm 128;
        attn.o_proj 2048x2048; mlp_norm 2048; mlp.gate_proj 5632x2048; mlp.up_proj 5632x2048; mlp.down_proj
        2048x5632
    """,
    "gla": """
        attn_norm 2048; attn.q_proj 1024x2048; attn.k_proj 1024x2048; attn.v_proj 2048x2048; attn.g_proj
        2048x2048; attn.gk_proj.0 16x2048; attn.gk_proj.1 1024x16; =attn.gk_proj.1.bias 1024; attn.o_proj
        2048x2048; attn.g_norm_swish_gate 512; mlp_norm 2048; mlp.gate_proj 5632x2048; mlp.up_proj 5632x2048;
        mlp.down_proj 2048x5632
    """,
    "gsa": """
        attn_norm 2048; attn.q_proj 2048x2048; attn.k_proj 2048x2048; attn.v_proj 2048x2048; attn.f_proj
        256x2048; attn.g_norm 2048; attn.o_proj 2048x2048; mlp_norm 2048; mlp.gate_proj 5632x2048; mlp.up_proj
        5632x2048; mlp.down_proj 2048x5632
    """,
    "gated_deltanet": """
        attn_norm 2048; =attn.A_log 6; =attn.dt_bias 6; attn.q_proj 1536x2048; attn.k_proj 1536x2048;
        attn.v_proj 3072x2048; attn.a_proj 6x2048; attn.b_proj 6x2048; attn.q_conv1d 1536x1x4; attn.k_conv1d
        1536x1x4; attn.v_conv1d 3072x1x4; attn.g_proj 3072x2048; attn.o_norm 512; attn.o_proj 2048x3072;
        mlp_norm 2048; mlp.gate_proj 5632x2048; mlp.up_proj 5632x2048; mlp.down_proj 2048x5632
    """,
    "gated_deltaproduct": """
        attn_norm 2048; attn.q_proj 1536x2048; attn.k_proj 1536x2048; attn.v_proj 3072x2048; attn.b_proj
        6x2048; attn.q_conv1d 1536x1x4; attn.k_conv1d 1536x1x4; attn.v_conv1d 3072x1x4; attn.g_proj 3072x2048;
        attn.o_norm 512; attn.o_proj 2048x3072; mlp_norm 2048; mlp.gate_proj 5632x2048; mlp.up_proj 5632x2048;
        mlp.down_proj 2048x5632
    """,
    "hgrn2": """
        attn_norm 2048; attn.q_proj 2048x2048; attn.f_proj 2048x2048; attn.i_proj 2048x2048; attn.g_norm 2048;
        attn.o_proj 2048x2048; mlp_norm 2048; mlp.gate_proj 5632x2048; mlp.up_proj 5632x2048; mlp.down_proj
        2048x5632
    """,
    "hgrn": """
        attn_norm 2048; attn.i_proj 2048x2048; attn.f_proj 2048x2048; attn.g_proj 2048x2048; attn.g_norm 2048;
        attn.o_proj 2048x2048; mlp_norm 2048; mlp.gate_proj 5632x2048; mlp.up_proj 5632x2048; mlp.down_proj
        2048x5632
    """,
    "kda": """
        attn_norm 2048; =attn.A_log 16; =attn.dt_bias 2048; attn.q_proj 2048x2048; attn.k_proj 2048x2048;
        attn.v_proj 2048x2048; attn.q_conv1d 2048x1x4; attn.k_conv1d 2048x1x4; attn.v_conv1d 2048x1x4;
        attn.f_proj.0 128x2048; attn.f_proj.1 2048x128; attn.b_proj 16x2048; attn.g_proj.0 128x2048;
        attn.g_proj.1 2048x128; =attn.g_proj.1.bias 2048; attn.o_norm 128; attn.o_proj 2048x2048; mlp_norm
        2048; mlp.gate_proj 5632x2048; mlp.up_proj 5632x2048; mlp.down_proj 2048x5632
    """,
    "lightnet": """
        attn_norm 2048; attn.q_proj 2048x2048; attn.k_proj 2048x2048; attn.v_proj 2048x2048; attn.g_proj.0
        128x2048; attn.g_proj.1 2048x128; attn.g_norm 2048; attn.o_proj 2048x2048; mlp_norm 2048;
        mlp.gate_proj 5632x2048; mlp.up_proj 5632x2048; mlp.down_proj 2048x5632
    """,
    "linear_attn": """
        attn_norm 2048; attn.feature_map_q.layer1 512x512; =attn.feature_map_q.layer1.bias 512;
        attn.feature_map_q.layer2 512x512; =attn.feature_map_q.layer2.bias 512; attn.feature_map_k.layer1
        512x512; =attn.feature_map_k.layer1.bias 512; attn.feature_map_k.layer2 512x512;
        =attn.feature_map_k.layer2.bias 512; attn.q_proj 2048x2048; attn.k_proj 2048x2048; attn.v_proj
        2048x2048; attn.norm 512; attn.o_proj 2048x2048; mlp_norm 2048; mlp.gate_proj 5632x2048; mlp.up_proj
        5632x2048; mlp.down_proj 2048x5632
    """,
    "mamba2": """
        norm 2048; =mixer.dt_bias 64; =mixer.A_log 64; =mixer.D 64; mixer.conv1d 4352x1x4; =mixer.conv1d.bias
        4352; mixer.in_proj 8512x2048; mixer.norm 4096; mixer.out_proj 2048x4096
    """,
    "mamba": """
        norm 2048; =mixer.A_log 4096x16; =mixer.D 4096; mixer.conv1d 4096x1x4; =mixer.conv1d.bias 4096;
        mixer.in_proj 8192x2048; mixer.x_proj 160x4096; mixer.dt_proj 4096x128; =mixer.dt_proj.bias 4096;
        mixer.out_proj 2048x4096
    """,
    "mom": """
        attn_norm 2048; =attn.A_log 4; =attn.dt_bias 4; attn.q_proj 1024x2048; attn.gate 4x2048; attn.k_proj.0
        1024x2048; attn.k_proj.1 1024x2048; attn.k_proj.2 1024x2048; attn.k_proj.3 1024x2048; attn.v_proj.0
        1024x2048; attn.v_proj.1 1024x2048; attn.v_proj.2 1024x2048; attn.v_proj.3 1024x2048; attn.b_proj.0
        4x2048; attn.b_proj.1 4x2048; attn.b_proj.2 4x2048; attn.b_proj.3 4x2048; attn.a_proj.0 4x2048;
        attn.a_proj.1 4x2048; attn.a_proj.2 4x2048; attn.a_proj.3 4x2048; attn.shared_k 1024x2048;
        attn.shared_v 1024x2048; attn.shared_b 4x2048; attn.shared_a 4x2048; attn.q_conv1d 1024x1x4;
        attn.k_conv1d 1024x1x4; attn.v_conv1d 1024x1x4; attn.g_proj 1024x2048; attn.o_norm 256; attn.o_proj
        2048x1024; mlp_norm 2048; mlp.gate_proj 5632x2048; mlp.up_proj 5632x2048; mlp.down_proj 2048x5632
    """,
    "rwkv6": """
        pre_norm 2048; =pre_norm.bias 2048; attn_norm 2048; =attn_norm.bias 2048; =attn.x_bias 5x2048;
        =attn.bonus 4x256; =attn.x_proj.0.mu 2048; attn.x_proj.0.linear 160x2048; attn.x_proj.2 2048x160;
        attn.r_proj.linear 1024x2048; attn.w_proj.linear.lora.0 64x2048; attn.w_proj.linear.lora.2 1024x64;
        =attn.w_proj.linear.lora.2.bias 1024; attn.k_proj.linear 1024x2048; attn.v_proj.linear 2048x2048;
        attn.g_proj.linear 2048x2048; attn.g_norm 2048; =attn.g_norm.bias 2048; attn.o_proj 2048x2048;
        ffn_norm 2048; =ffn_norm.bias 2048; =ffn.key.mu 2048; ffn.key.linear 7168x2048; ffn.value 2048x7168;
        =ffn.receptance.mu 2048; ffn.receptance.linear 2048x2048
    """,
    "rwkv7": """
        pre_norm 2048; =pre_norm.bias 2048; attn_norm 2048; =attn_norm.bias 2048; =attn.x_r 1x1x2048;
        =attn.x_w 1x1x2048; =attn.x_k 1x1x2048; =attn.x_v 1x1x2048; =attn.x_a 1x1x2048; =attn.x_g 1x1x2048;
        =attn.k_k 2048; =attn.k_a 2048; =attn.r_k 32x64; attn.r_proj 2048x2048; attn.k_proj 2048x2048;
        attn.v_proj 2048x2048; attn.o_proj 2048x2048; attn.w_lora.lora.0 64x2048; attn.w_lora.lora.2 2048x64;
        =attn.w_lora.lora.2.bias 2048; attn.a_lora.lora.0 64x2048; attn.a_lora.lora.2 2048x64;
        =attn.a_lora.lora.2.bias 2048; attn.g_lora.lora.0 128x2048; attn.g_lora.lora.2 2048x128; attn.g_norm
        2048; =attn.g_norm.bias 2048; ffn_norm 2048; =ffn_norm.bias 2048; =ffn.x_k 2048; ffn.key 8192x2048;
        ffn.value 2048x8192
    """,
    "retnet": """
        attn_norm 2048; attn.q_proj 2048x2048; attn.k_proj 2048x2048; attn.v_proj 4096x2048; attn.g_proj
        4096x2048; attn.o_proj 2048x4096; attn.g_norm_swish_gate 512; mlp_norm 2048; mlp.gate_proj 2816x2048;
        mlp.up_proj 2816x2048; mlp.down_proj 2048x2816
    """,
    "rodimus": """
        mixer_norm 2048; =mixer.residual_weight 4096; mixer.gate_proj 4096x2048; mixer.up_proj 4096x2048;
        mixer.activation_norm 4096; mixer.down_proj 2048x4096; mixer.short_conv 4096x1x4;
        =mixer.short_conv.bias 4096; mixer.k_proj 64x4096; mixer.q_proj 64x4096; mixer.g_gate_proj 64x4096;
        =mixer.g_gate_proj.bias 64; mixer.tau_gate_proj 64x4096; =mixer.tau_gate_proj.bias 64;
        mixer.i_gate_proj.0 32x4096; mixer.i_gate_proj.1 4096x32; =mixer.i_gate_proj.1.bias 4096;
        ska_attn_norm 2048; ska_attn.q_proj 2048x2048; ska_attn.k_proj 128x2048; ska_attn.v_proj 2048x2048;
        ska_attn.o_proj 2048x2048; mlp_norm 2048; mlp.gate_proj 2736x2048; mlp.up_proj 2736x2048;
        mlp.down_proj 2048x2736
    """,
    "samba": """
        mixer_norm 2304; =mixer.A_log 4608x16; =mixer.D 4608; mixer.conv1d 4608x1x4; =mixer.conv1d.bias 4608;
        mixer.in_proj 9216x2304; mixer.x_proj 176x4608; mixer.dt_proj 4608x144; =mixer.dt_proj.bias 4608;
        mixer.out_proj 2304x4608; mlp_norm 2304; mlp.gate_proj 6144x2304; mlp.up_proj 6144x2304; mlp.down_proj
        2304x6144
    """,
    "transformer": """
        attn_norm 2048; attn.q_proj 2048x2048; attn.k_proj 2048x2048; attn.v_proj 2048x2048; attn.o_proj
        2048x2048; mlp_norm 2048; mlp.gate_proj 5632x2048; mlp.up_proj 5632x2048; mlp.down_proj 2048x5632
    """,
}

# Beside embeddings.weight, the final norm and lm_head.weight.
OUTSIDE = {
    "hgrn2": {'model.lower_bounds': [2, 2048]},
    "hgrn": {'model.lower_bounds': [2, 2048]},
    "rwkv6": {'model.norm.bias': [2048]},
    "rwkv7": {'model.norm.bias': [2048]},
}
