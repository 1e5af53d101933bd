"""Markdown to PDF: `inline` reads runs, `wrap` cuts them into lines, `sheet` draws, `blocks` and `table` lay out.

Imports fpdf2 and markdown-it-py; `document.render` is the way in.
"""
