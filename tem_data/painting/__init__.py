"""New defects painted into real micrographs: the background stays, shapes and places are new."""
