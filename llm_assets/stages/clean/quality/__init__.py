"""Learned quality: classifiers that tell good documents from ordinary ones, trained here or taken from a file.

Guarantees a score that depends on the text and the model alone. Where models are kept is `store.models`' business,
when one is made that of `chain.quality_model`, and what a score means for a document that of the judge.
"""

VERSION = "1"
"""Raised whenever the same input and parameters could give another output."""
