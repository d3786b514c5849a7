"""A residual perceptron on a whole latent at once."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from shapegen.errors import ConfigError
from shapegen_plugins.time_embedding import TimeEmbedding, modulation


class ResidualMlp(nn.Module):
    """`(x[b, tokens, width], t[b], None) -> [b, tokens, width]`; the output starts at zero.

    Args:
        tokens, width: of the data.
        hidden: width of the residual stream.
        depth: number of residual blocks, each scaled, shifted and gated by the time embedding.
        dropout: in the blocks.
    """

    def __init__(self, tokens: int, width: int, *, hidden: int, depth: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.time = TimeEmbedding(hidden)
        self.into = nn.Linear(tokens * width, hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden, elementwise_affine=False) for _ in range(depth))
        self.modulations = nn.ModuleList(modulation(hidden, 3) for _ in range(depth))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Dropout(dropout), nn.Linear(hidden, hidden))
            for _ in range(depth)
        )
        self.out = nn.Linear(hidden, tokens * width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        """Estimate from noisy x at level t, any real number.

        Raises:
            ConfigError: a condition was given; this network takes none.
        """
        if cond is not None:
            raise ConfigError("denoiser 'mlp' takes no condition; use denoiser 'transformer' with cross_attention")
        time = functional.silu(self.time(t))
        hidden = self.into(x.flatten(1))
        for norm, modulate, block in zip(self.norms, self.modulations, self.blocks, strict=True):
            shift, scale, gate = modulate(time).chunk(3, dim=-1)
            hidden = hidden + gate * block(norm(hidden) * (1 + scale) + shift)
        return self.out(functional.silu(hidden)).unflatten(1, x.shape[1:])
