"""Markdown to PDF, with markdown-it-py and fpdf2; `document.render` is the way in.

`styled_text` reads inline Markdown, `line_breaking` cuts it into lines, `blocks` and `table` lay these out,
`canvas` draws them on pages, and `theme` says how everything looks.
"""
