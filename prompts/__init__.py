"""Prompt documents, one Markdown file each, and the strict loader that renders them."""
