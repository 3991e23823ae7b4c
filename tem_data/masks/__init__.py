"""What masks are drawn with: settings, measured shapes to draw from, distances kept, pixels painted."""
