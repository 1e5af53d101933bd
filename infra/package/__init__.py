"""Builds what is deployed, from the lock files: `sweephand package aws` and `… google`.

pick files → install wheels → compile → zip → check. The same input gives the same bytes.
"""
