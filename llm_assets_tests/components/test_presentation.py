"""Plots and tables of a partition: what is drawn is what was counted, and it is small."""

from __future__ import annotations

import base64
import io

import dagster as dg
import numpy as np
import pyarrow as pa
from matplotlib.patches import Rectangle
from PIL import Image

from llm_assets.components.presentation import draw_histogram, draw_waterfall, ledger_table, partition_metadata
from llm_assets.contract.histograms import Histogram, ValueRange
from llm_assets.contract.link import Description
from llm_assets.store.ledger import Count, Ledger
from llm_assets.store.manifest import Manifest

LEDGER = Ledger(
    incoming=Count(100),
    kept=Count(60),
    output=Count(60),
    dropped={"z.late": Count(5), "a.early": Count(20), "m.middle": Count(10)},
    quarantined={"broken": Count(5)},
)
ORDER = ["m.middle", "a.early", "unused", "z.late"]


def histogram() -> Histogram:
    values = np.array([0, 1, 5, 7, 50, 80_000])
    made = Histogram.empty(ValueRange().including(values), ["kept", "rejected"], {"min_words, at least 50": 50.0})
    made.add("kept", values[4:])
    made.add("rejected", values[:4])
    return made


def described(**fields: object) -> Description:
    return Description(60, 1, pa.schema([("text", pa.string())]), **fields)  # type: ignore[arg-type]


def metadata(description: Description) -> dict[str, object]:
    manifest = Manifest("web/cleaned", "s", "g", "1", {}, "d", LEDGER)
    return partition_metadata(manifest, description, "uri")


def picture(value: object) -> Image.Image:
    assert isinstance(value, dg.MarkdownMetadataValue) and value.md_str is not None
    data = value.md_str.removeprefix("![plot](data:image/png;base64,").removesuffix(")")
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_the_waterfall_leads_from_all_to_the_kept() -> None:
    axes = draw_waterfall(LEDGER, ORDER).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["came in", "m.middle", "a.early", "z.late", "broken", "kept"]
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars] == [
        *[(0, 100), (90, 100), (70, 90), (65, 70), (60, 65), (0, 60)]
    ]


def test_a_mixture_is_shown_in_rows() -> None:
    incoming, kept = Count(rows=7, bytes=28, tokens=14), Count(rows=4, bytes=16, tokens=8)
    ledger = Ledger(incoming=incoming, kept=kept, output=kept, dropped={"over_share:docs": incoming + kept * -1})
    table = ledger_table(ledger)
    assert [column.name for column in table.schema.columns] == ["entry", "reason", "rows", "bytes", "tokens"]
    assert table.records[0].data == {"entry": "in", "reason": "", "rows": 7, "bytes": 28, "tokens": 14}
    axes = draw_waterfall(ledger, []).axes[0]
    assert axes.get_title(loc="left") == "Rows"
    assert [patch.get_width() for patch in axes.patches if isinstance(patch, Rectangle)] == [7, 3, 4]


def test_a_histogram_marks_its_thresholds() -> None:
    axes = draw_histogram("Documents by words", histogram()).axes[0]
    assert [line.get_xdata()[0] for line in axes.lines] == [50.0]  # type: ignore[index]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["kept", "rejected", "min_words, at least 50"]
    assert axes.get_xscale() == "symlog"
    kept, rejected = axes.patches
    assert kept.get_data().values.sum() == 2 and rejected.get_data().values.sum() == 6  # type: ignore[attr-defined]


def test_metadata_has_a_picture_for_each_and_little_weight() -> None:
    found = metadata(described(histograms={"Documents by pii.email": histogram()}, reasons=ORDER))
    for key in ("drop_reasons", "documents_by_pii_email"):
        image = picture(found[key])
        assert image.width == 480 and len(image.convert("RGB").getcolors(1 << 16) or []) > 3
        assert len(str(found[key])) < 20_000


def test_a_histogram_of_nothing_is_drawn() -> None:
    found = metadata(described(histograms={"Length": Histogram.of(np.empty(0, np.int64))}))
    assert picture(found["length"]).width == 480


def test_tables_tell_numbers_from_words() -> None:
    rows = [{"language": "en", "kept": 3}, {"language": "de", "kept": 1}]
    table = metadata(described(tables={"languages": rows, "pii": []}))
    assert "pii" not in table
    languages = table["languages"]
    assert isinstance(languages, dg.TableMetadataValue)
    assert [column.type for column in languages.schema.columns] == ["string", "int"]
    assert [record.data for record in languages.records] == rows
