"""Published weights: what exists (catalogue), what is here (overview, sound), and how a file gets here (download)."""
