"""Builds what is deployed, from the lock files: `python -m infra.package aws` and `… google`.

pick files → install wheels → compile → zip → check. The same input gives the same bytes.
"""
