"""Passwords in what is said and written."""

from __future__ import annotations

import re

_SECRET_IN_QUERY = re.compile(
    r"(?i)(?<![\w.-])([\w.-]*(?:pas|pass[a-z]*|pw|pwd|token|secret|key|auth|authbasic|credentials?|"
    r"sig|signature)=)"
    r"[^&\s'\"]+?(?=:?(?:[&\s'\"]|$))"
)

_ADDRESS = re.compile(r"(://|\w\w:/(?!/))\S+@")
"""An address, also as a path of pathlib, which has made one slash of its two."""


def mask_credentials(text: str) -> str:
    """The text with the user and password of every address replaced by ``***``.

    Everything between ``://`` and the last ``@`` before a blank goes, since passwords may hold
    ``@``, ``/`` and ``:``; so does the value of password-like query parameters.
    """
    return _SECRET_IN_QUERY.sub(r"\1***", _ADDRESS.sub(r"\1***@", text))
