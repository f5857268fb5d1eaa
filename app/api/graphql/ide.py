"""GraphiQL at GET /graphql, from files of our own. Never asks another host for anything."""

from __future__ import annotations

from pathlib import Path

from litestar.handlers import HTTPRouteHandler

from app.api.pages import ready

_FILES = Path(__file__).parent / "ide_files"
_PAGE = b"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>CDP GraphQL</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/graphql/ide/graphiql.min.css">
<link rel="stylesheet" href="/graphql/ide/page.css">
</head>
<body>
<div id="graphiql">Loading</div>
<script src="/graphql/ide/react.production.min.js"></script>
<script src="/graphql/ide/react-dom.production.min.js"></script>
<script src="/graphql/ide/graphiql.min.js"></script>
<script src="/graphql/ide/start.js"></script>
</body>
</html>
"""
_PAGE_POLICY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'"
}
_KINDS = {".js": "text/javascript", ".css": "text/css"}


def ide_routes() -> list[HTTPRouteHandler]:
    """The page and its files. No key: what it asks for needs one."""
    return [
        ready("/graphql", _PAGE, "text/html", _PAGE_POLICY),
        *(
            ready(f"/graphql/ide/{file.name.removesuffix('.gz')}", file.read_bytes(), *_kind(file))
            for file in sorted(_FILES.iterdir())
            if file.suffix != ".md"
        ),
    ]


def _kind(file: Path) -> tuple[str, dict[str, str]]:
    """Media type, and how the file is packed."""
    packed = {"Content-Encoding": "gzip"} if file.suffix == ".gz" else {}
    return _KINDS[Path(file.name.removesuffix(".gz")).suffix], packed
