"""A database of vulnerabilities for grype, in place of the one that it fetches: a few rows in schema 6."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

#: What grype 0.121 reads, with the types that it needs.
TABLES = """
create table blobs (id integer primary key, value text);
create table db_metadata (build_timestamp datetime, model integer, revision integer, addition integer);
create table providers (id text primary key, version text, processor text, date_captured datetime,
  input_digest text);
create table vulnerability_handles (id integer primary key, name text, status text, published_date datetime,
  modified_date datetime, withdrawn_date datetime, provider_id text, blob_id integer);
create table affected_package_handles (id integer primary key, vulnerability_id integer,
  operating_system_id integer, package_id integer, blob_id integer);
create table operating_systems (id integer primary key, name text, release_id text, major_version text,
  minor_version text, label_version text, codename text, channel text, eol_date datetime, eoas_date datetime);
create table packages (id integer primary key, ecosystem text, name text);
insert into db_metadata values ('2026-01-01 00:00:00+00:00', 6, 1, 0);
insert into providers values ('debian', '1', 'tests', '2026-01-01 00:00:00+00:00', '');
insert into operating_systems values (1, 'debian', 'debian', '12', '', '', 'bookworm', '', null, null);
"""


def grype_database(folder: Path, fixed: Mapping[str, str]) -> dict[str, str]:
    """Write the database; return the environment with which grype uses it.

    Args:
        folder: for the database
        fixed: Debian 12's source packages, with the versions that are vulnerable no longer. Each package has
            one vulnerability, whose name is CVE- and the package's
    """
    place = folder / "6"
    place.mkdir(parents=True)
    with closing(sqlite3.connect(place / "vulnerability.db")) as database:
        database.executescript(TABLES)
        for number, (package, version) in enumerate(fixed.items(), 1):
            name = f"CVE-{package}"
            about = {"id": name, "severities": [{"scheme": "CHMLN", "value": "high", "rank": 1}]}
            vulnerable = {"type": "dpkg", "constraint": f"< {version}"}
            affected = {"ranges": [{"version": vulnerable, "fix": {"version": version, "state": "fixed"}}]}
            for blob, value in ((2 * number, about), (2 * number + 1, affected)):
                database.execute("insert into blobs values (?, ?)", (blob, json.dumps(value)))
            database.execute(
                "insert into vulnerability_handles values (?, ?, 'active', null, null, null, 'debian', ?)",
                (number, name, 2 * number),
            )
            database.execute("insert into packages values (?, 'deb', ?)", (number, package))
            database.execute(
                "insert into affected_package_handles values (?, ?, 1, ?, ?)",
                (number, number, number, 2 * number + 1),
            )
        database.commit()
    (place / "import.json").write_text(json.dumps({"digest": "xxh64:0", "client_version": "v6.1.0"}))
    return {
        "GRYPE_DB_CACHE_DIR": str(folder),
        "GRYPE_DB_AUTO_UPDATE": "false",
        "GRYPE_DB_VALIDATE_AGE": "false",
        "GRYPE_DB_VALIDATE_BY_HASH_ON_START": "false",
        "GRYPE_CHECK_FOR_APP_UPDATE": "false",
    }


def matches(document: Path) -> set[tuple[str, str]]:
    """Return the vulnerabilities in what grype has written by `-o json`, each with its package."""
    found = json.loads(document.read_text(encoding="utf-8"))["matches"]
    return {(match["vulnerability"]["id"], match["artifact"]["name"]) for match in found}
