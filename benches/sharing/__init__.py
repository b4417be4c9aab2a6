"""What it costs to share rooms through Redis: `benches/backplane` runs it."""
