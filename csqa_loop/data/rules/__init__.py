"""Training data in files: rows to examples, what they are worth, and how they are split, varied and written again. All pure."""
