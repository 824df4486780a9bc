"""What computes: layers, paths of layers, modules built from them, cheap heads. Knows forms; no files, no search."""
