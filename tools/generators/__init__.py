"""The parts of tools/generate.py: the facts, and one module a language they are written in."""
