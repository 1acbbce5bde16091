"""One function evaluation of our latent samplers against a stand-in of ELF's shape, batch 16, alternated rounds.

    OMP_NUM_THREADS=1 python benchmarks/latent_step.py

ELF's sampler runs a transformer over 64 latents of 64 channels behind 12 prefix tokens that carry time, guidance and
self-condition flags, 4 blocks x 128 channels x 4 heads, normed queries and keys, rotary positions, gated feed-forward. The
stand-in is written here from that published shape; ours are the same size without the prefix.
"""

import json
import time

import torch
import torch.nn.functional as F
from timing import versus
from torch import nn

from minildm.models.manta import MantaLM
from minildm.models.manta_config import MantaLMConfig
from minildm.models.vae import VAEConfig
from minildm.nets.layers import rotary_angles, rotate, time_features
from minildm.nets.transformer import DiffusionTransformer

LATENT, WIDTH, HEADS, LAYERS, LENGTH, PREFIX, BATCH = 64, 128, 4, 4, 64, 12, 16


class ElfBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)
        self.q_norm, self.k_norm = nn.RMSNorm(WIDTH // HEADS), nn.RMSNorm(WIDTH // HEADS)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.gate, self.up, self.down = (
            nn.Linear(*size) for size in ((WIDTH, 344), (WIDTH, 344), (344, WIDTH))
        )

    def forward(self, x, angles):
        b, n, _ = x.shape
        q, k, v = (
            y.view(b, n, HEADS, -1).transpose(1, 2) for y in self.qkv(self.norm1(x)).chunk(3, dim=2)
        )
        q, k = rotate(self.q_norm(q), angles), rotate(self.k_norm(k), angles)
        x = x + self.out(
            F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, WIDTH)
        )
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Elf(nn.Module):
    """A flow transformer of ELF's shape."""

    def __init__(self):
        super().__init__()
        self.in_proj, self.time = nn.Linear(2 * LATENT, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.prefix = nn.Parameter(torch.randn(PREFIX, WIDTH))
        self.blocks = nn.ModuleList(ElfBlock() for _ in range(LAYERS))
        self.norm, self.out_proj = nn.RMSNorm(WIDTH), nn.Linear(WIDTH, LATENT)

    def forward(self, zt, t, c):
        prefix = self.prefix + self.time(time_features(t, WIDTH))[:, None]
        x = torch.cat((prefix, self.in_proj(torch.cat((zt, c), dim=-1))), dim=1)
        angles = rotary_angles(torch.arange(x.shape[1]), WIDTH // HEADS)
        for block in self.blocks:
            x = block(x, angles)
        return self.out_proj(self.norm(x[:, PREFIX:]))


@torch.no_grad()
def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    zt, c, t = (
        torch.randn(BATCH, LENGTH, LATENT),
        torch.zeros(BATCH, LENGTH, LATENT),
        torch.full((BATCH,), 0.3),
    )
    elf, ldlm = Elf(), DiffusionTransformer(LATENT, WIDTH, HEADS, LAYERS, 1.0)
    manta = MantaLM(
        MantaLMConfig(d_model=WIDTH, n_heads=HEADS, n_layers=LAYERS, space=VAEConfig(latent=LATENT))
    ).eval()
    each = t[:, None].expand(BATCH, LENGTH).contiguous()
    evaluations = {
        "LDLM's denoiser": lambda: ldlm(zt, t, c),
        "Manta-LM's policy and its token posterior": lambda: manta.predict(zt, each, c),
    }
    sizes = {"ELF's shape": elf, "LDLM": ldlm, "Manta-LM": manta.policy}
    rows = {
        "parameters": {
            name: sum(p.numel() for p in net.parameters()) for name, net in sizes.items()
        }
    }
    for name, evaluate in evaluations.items():
        rows[name] = versus(
            evaluate, lambda: elf(zt, t, c), rounds=40, core=0, timer=time.process_time
        )
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
