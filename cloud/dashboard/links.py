"""Addresses within the site."""

from urllib.parse import quote


def image_url(sha256: str) -> str:
    """Where the API serves a picture."""
    return f"/v1/images/{sha256}"


def thumbnail_url(sha256: str) -> str:
    """Where the small copy of a picture is served."""
    return f"/v1/images/{sha256}/thumbnail"


def part_url(part_id: str) -> str:
    """Trace page of a part."""
    return f"/parts/{quote(part_id, safe='')}"


def safe_target(wanted: str) -> str:
    """Where to go after signing in: a path of this site, whatever the address bar asks for."""
    # Browsers read a backslash as a slash, and "//host" as another site.
    if not wanted.startswith("/") or wanted.startswith(("//", "/\\")) or not wanted.isprintable():
        return "/"
    return wanted
