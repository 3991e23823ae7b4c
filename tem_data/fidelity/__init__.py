"""How generated pairs compare with real ones, and what two sets of real ones would give.

`contrast`, `texture`, `distance` and `memorisation` each measure one thing on
pictures or their features; `comparison` puts them together, each beside its
real-against-real value. None of them needs detectron2.
"""
