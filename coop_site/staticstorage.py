"""How static files are named and stored: by content, so that a browser may keep them for ever."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage


class NamedByContent(CompressedManifestStaticFilesStorage):
    """Also inside ES modules: an `import "./lib/live.js"` names the version that it was collected with."""

    support_js_module_import_aggregation = True
