"""fastText's supervised models, read and evaluated without the GIL: labels of text at the speed of a kernel.

Guarantees the labels that fastText itself predicts. What a label is for is the business of those who ask.
"""
