"""Templates of `dg scaffold defs` for each component: a complete example to edit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg


def _scaffolder(attributes: Callable[[str], dict[str, Any]]) -> type[dg.Scaffolder[Any]]:
    """A scaffolder that writes attributes made from the name of the folder."""

    class ExampleScaffolder(dg.Scaffolder[Any]):
        """Writes a `defs.yaml` that is complete but for the names of what it refers to."""

        def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
            """Write the file."""
            name = "".join(c if c.isalnum() else "_" for c in request.target_path.name)
            dg.scaffold_component(request, attributes(name))

    return ExampleScaffolder


corpus_source_scaffolder = _scaffolder(
    lambda name: {
        "name": name,
        "description": "What the source is.",
        "tokenizer": "name_of_a_tokenizer",
        "pack": {"sequence_length": 2048},
        "clean": {"normalise": "NFC", "gopher_quality": {"min_words": 50}},
        "checks": {"max_quarantine_rate": 0.05, "max_drop_rate": 0.5},
    }
)

tokenizer_scaffolder = _scaffolder(
    lambda name: {
        "name": name,
        "description": "What the tokenizer is for.",
        "train": {"sources": ["name_of_a_source"], "vocabulary_size": 32768, "max_bytes": 100_000_000},
        "end_of_document": "<|endoftext|>",
    }
)

quality_model_scaffolder = _scaffolder(
    lambda name: {
        "name": name,
        "description": "What the model is for.",
        "train": {"good": "name_of_a_source", "ordinary": "name_of_another"},
        "min_accuracy": 0.7,
    }
)

mixture_scaffolder = _scaffolder(
    lambda name: {
        "name": name,
        "description": "What is trained from the mixture.",
        "shares": {"name_of_a_source": 0.7, "name_of_another": 0.3},
        "seed": 0,
        "max_repetitions": 1.0,
        "held_out": {"rows": 16},
    }
)
