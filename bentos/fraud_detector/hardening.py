"""Headers on every answer: a browser that is led here by somebody must gain nothing by it."""

HARDENED: list[tuple[bytes, bytes]] = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]

HARDENED_TLS: list[tuple[bytes, bytes]] = [
    *HARDENED,
    (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
]
"""For answers over TLS; RFC 6797 forbids that header on plain connections."""
