"""Documents compared with the JSON schemas that promise what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def faults(document: object, schema: Mapping[str, Any]) -> list[str]:
    """Return what the schema does not permit."""
    import jsonschema  # takes seconds, which processes that only collect the tests need not spend

    jsonschema.Draft202012Validator.check_schema(schema)
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(document)]
