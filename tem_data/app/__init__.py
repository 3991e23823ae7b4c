"""The page in the browser that `tem-data app` serves: find defects, paint micrographs, look at datasets and results.

`page` puts the tabs together and serves them; `detect`, `paint`, `browse` and `study` are a tab each, `finding` and
`painting` do the work of the first two. `session` is what one open page has for itself, `models` what all share.
"""
