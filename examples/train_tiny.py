"""Train a small GPT on a mixture, in plain torch on CPU; exit status 1 if the loss does not fall.

Documents packed into one row do not see each other: attention is masked by `document_ids`.
"""

import argparse
import os
import sys
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from llm_assets.loader import TokenLoader, sdpa_mask

WIDTH, HEADS, LAYERS = 128, 4, 2


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4)
        x = x + self.out(scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class TinyGPT(nn.Module):
    def __init__(self, vocabulary: int, length: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, WIDTH), nn.Embedding(length, WIDTH)
        self.blocks, self.norm = nn.ModuleList(Block() for _ in range(LAYERS)), nn.LayerNorm(WIDTH)
        for embedding in (self.tokens, self.positions):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, input_ids: Tensor, labels: Tensor, position_ids: Tensor, document_ids: Tensor) -> Tensor:
        mask = sdpa_mask(document_ids)
        x = self.tokens(input_ids) + self.positions(position_ids)
        for block in self.blocks:
            x = block(x, mask)
        targets = labels[:, 1:]
        wanted = targets != -100  # the output layer, tied to the embedding, only where there is a target
        return cross_entropy(self.norm(x[:, :-1][wanted]) @ self.tokens.weight.T, targets[wanted])


parser = argparse.ArgumentParser(description="Train a small GPT on a mixture.")
parser.add_argument("mixture", nargs="?", help="URI; default: newest version of `demo` in $LLM_ASSETS_ROOT or ./data")
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--batch", type=int, default=4, help="rows in a batch")
parser.add_argument("--length", type=int, default=128, help="tokens used of each row, from its start")
arguments = parser.parse_args()
if not arguments.mixture:
    root = Path(os.environ.get("LLM_ASSETS_ROOT", "data"))
    versions = sorted(root.glob("mixtures/demo/*/index.json"), key=lambda index: index.stat().st_mtime)
    arguments.mixture = versions[-1].parent if versions else sys.exit(f"no mixture `demo` in {root}: make one first")
torch.manual_seed(0)
loader = TokenLoader(arguments.mixture, batch_size=arguments.batch, epochs=None)
model = TinyGPT(loader.set.index.vocabulary_size, loader.set.sequence_length)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
print(f"{loader.set.uri}: {loader.set.rows:,} rows of {loader.set.sequence_length} tokens", flush=True)
losses: list[float] = []
for batch in islice(loader, arguments.steps):
    loss = model(**{name: field[:, : arguments.length] for name, field in batch.items()})
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    if len(losses) % 20 == 0:
        print(f"step {len(losses):4}  loss {sum(losses[-20:]) / 20:.3f}", flush=True)
first, last = (sum(part) / len(part) for part in (losses[:20], losses[-20:]))
print(f"loss of the first 20 steps: {first:.3f}, of the last 20: {last:.3f}; {loader.epoch} epochs completed")
sys.exit(0 if last < first else 1)
