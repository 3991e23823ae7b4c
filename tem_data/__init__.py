"""tem_data: labelled micrographs in, more labelled micrographs out, and a measure of whether they help."""
