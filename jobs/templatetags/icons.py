"""The icon set: strokes on a 16 x 16 grid, drawn for these pages, coloured by the text around them."""

from __future__ import annotations

ICONS: dict[str, str] = {
    # states
    "clock": '<circle cx="8" cy="8" r="6"/><path d="M8 4.6V8l2.3 1.6"/>',
    "hold": '<circle cx="8" cy="8" r="6"/><path d="M6.4 5.8v4.4M9.6 5.8v4.4"/>',
    "ring": '<circle cx="8" cy="8" r="6" stroke-dasharray="2.2 2.5"/>',
    "play": '<path d="M5 3.6v8.8L12 8z"/>',
    "pause": '<path d="M5.5 3.5v9M10.5 3.5v9"/>',
    "stop": '<rect x="4" y="4" width="8" height="8" rx="1"/>',
    "tick": '<path d="m3.5 8.4 3 3 6-6.6"/>',
    "cross": '<path d="m4.2 4.2 7.6 7.6m0-7.6-7.6 7.6"/>',
    "slash": '<circle cx="8" cy="8" r="6"/><path d="m3.9 12.1 8.2-8.2"/>',
    # things
    "card": '<rect x="1.8" y="4" width="12.4" height="7.4" rx="1.2"/><circle cx="5.6" cy="7.7" r="1.6"/>'
    '<path d="M9.4 6.2h2.6m-2.6 3h2.6M3.6 11.4v1.8m3-1.8v1.8"/>',
    "data": '<ellipse cx="8" cy="4" rx="5.2" ry="2"/><path d="M2.8 4v8c0 1.1 2.3 2 5.2 2s5.2-.9 5.2-2V4'
    'M2.8 8c0 1.1 2.3 2 5.2 2s5.2-.9 5.2-2"/>',
    "people": '<circle cx="6" cy="5.4" r="2.4"/><path d="M1.8 13c.3-2.4 2-3.8 4.2-3.8s3.9 1.4 4.2 3.8'
    'M10.6 3.3a2.2 2.2 0 0 1 0 4.2m1 2.1c1.4.5 2.3 1.7 2.6 3.4"/>',
    "person": '<circle cx="8" cy="5.4" r="2.6"/><path d="M3 13.4c.4-2.7 2.4-4.2 5-4.2s4.6 1.5 5 4.2"/>',
    "key": '<circle cx="5.2" cy="10.8" r="2.8"/><path d="m7.3 8.7 5.6-5.6m-2.6 2.6 1.9 1.9"/>',
    "file": '<path d="M4 1.8h5l3 3v9.4H4zM9 1.8v3h3"/>',
    "list": '<path d="M5.5 4h8M5.5 8h8m-8 4h8M2.4 4h.1m-.1 4h.1m-.1 4h.1"/>',
    "bolt": '<path d="M8.8 1.8 3.6 9h3.8l-.4 5.2L12.4 7H8.4z"/>',
    # deeds
    "plus": '<path d="M8 3v10M3 8h10"/>',
    "search": '<circle cx="7" cy="7" r="4.4"/><path d="m10.4 10.4 3.2 3.2"/>',
    "upload": '<path d="M8 10.5v-8M4.8 5.6 8 2.4l3.2 3.2M2.8 10.8v2.6h10.4v-2.6"/>',
    "download": '<path d="M8 2.5v8M4.8 7.4 8 10.6l3.2-3.2M2.8 10.8v2.6h10.4v-2.6"/>',
    "copy": '<rect x="5.4" y="5.4" width="8" height="8" rx="1.2"/>'
    '<path d="M10.6 5.4V3.8a1.2 1.2 0 0 0-1.2-1.2H3.8a1.2 1.2 0 0 0-1.2 1.2v5.6a1.2 1.2 0 0 0 1.2 1.2h1.6"/>',
    "clone": '<path d="M5 2.6v6.2a2 2 0 0 0 2 2h5.4m-2.4-2.6 2.6 2.6-2.6 2.6"/>',
    "wrap": '<path d="M2.4 4h11.2M2.4 8h8.8a2.2 2.2 0 0 1 0 4.4H8.4m1.6-1.8-1.8 1.8 1.8 1.8M2.4 12.4h3"/>',
    "follow": '<path d="M8 2.4v8.2M4.6 7.4 8 10.8l3.4-3.4M3 13.6h10"/>',
    "up": '<path d="m4 10 4-4 4 4"/>',
    "down": '<path d="m4 6 4 4 4-4"/>',
    "right": '<path d="m6 4 4 4-4 4"/>',
    "trash": '<path d="M2.8 4.4h10.4M6.2 4.4V2.6h3.6v1.8M4.2 4.4l.6 9h6.4l.6-9"/>',
    "leave": '<path d="M6.4 2.8H3.2v10.4h3.2M7 8h6.4m-2.4-2.6L13.6 8 11 10.6"/>',
    "gear": '<circle cx="8" cy="8" r="2"/><path d="M8 1.8v2m0 8.4v2M1.8 8h2m8.4 0h2M3.6 3.6 5 5m6 6 1.4 1.4m0-8.8'
    'L11 5m-6 6-1.4 1.4"/>',
    "bell": '<path d="M3.2 12h9.6c-1.1-1.2-1.4-2.3-1.4-4.6a3.4 3.4 0 0 0-6.8 0c0 2.3-.3 3.4-1.4 4.6zM6.6 14h2.8"/>',
    "menu": '<path d="M2.5 4.5h11M2.5 8h11m-11 3.5h11"/>',
    # themes
    "sun": '<circle cx="8" cy="8" r="2.8"/><path d="M8 1.6v1.6m0 9.6v1.6M1.6 8h1.6m9.6 0h1.6M3.5 3.5l1.1 1.1m6.8 6.8'
    ' 1.1 1.1m0-9-1.1 1.1m-6.8 6.8-1.1 1.1"/>',
    "moon": '<path d="M13.2 9.6A5.8 5.8 0 0 1 6.4 2.8a5.6 5.6 0 1 0 6.8 6.8z"/>',
    "screen": '<rect x="2" y="3" width="12" height="8" rx="1"/><path d="M5.6 13.4h4.8M8 11v2.4"/>',
    # words of warning
    "info": '<circle cx="8" cy="8" r="6"/><path d="M8 7.2v3.6M8 5h.01"/>',
    "warning": '<path d="M8 2.4 1.9 13h12.2zM8 6.6v3M8 11.3h.01"/>',
}
