"""The parts of tools/generate.py: the facts, and the modules that write them in each language."""
