"""Whether masks can be told from experimental ones: distances of distributions, and a classifier.

`features` measures patches, `distances` compares samples, `classifier` is the
two-sample test, `comparison` puts them together, `text` says it.
"""
