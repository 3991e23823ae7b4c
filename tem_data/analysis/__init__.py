"""From new micrographs to numbers: what `tem-data predict` finds, measures and writes.

`inputs` lists the micrographs, `searching` finds the defects on one of them, `measuring` makes numbers of these,
`saving` and `tables` write the files, `report` the page, `records` lets a killed run go on, and `steps` does it for
one micrograph after the other.
"""
