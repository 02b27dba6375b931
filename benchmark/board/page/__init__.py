"""The board as a page that opens from a file: `page_files`."""

from benchmark.board.page.page import page_files

__all__ = ["page_files"]
